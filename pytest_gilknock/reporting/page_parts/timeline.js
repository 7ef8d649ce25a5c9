// A track for each thread: when it held the GIL and when it waited. Wheel or + and - zoom, dragging or arrows move.

const TRACK = 26;
const AXIS = 22;
const WAITS = 0;
const LEGEND = { holds: "holds the GIL", waits: "waits for it", forced: "told to drop it" };

class Timeline {
  // `threads`: [{name, slices: [from, to, kind, ...]}] in microseconds since the test began; kind 0: waits,
  // 1: holds, 2: holds until it is forced to drop the GIL.
  // `unknown`: how much of the beginning was not recorded.
  constructor(threads, length, unknown) {
    Object.assign(this, { threads, length, unknown, from: 0, to: length });
    this.canvas = element("canvas", {
      tabindex: 0,
      role: "img",
      "aria-label": this.spoken(),
      height: threads.length * TRACK + AXIS,
      onwheel: (event) => this.wheel(event),
      onpointerdown: (event) => this.grab(event),
      onpointermove: (event) => this.drag(event),
      onpointerup: () => (this.grabbed = null),
      onkeydown: (event) => this.key(event),
      ondblclick: () => this.show(0, this.length),
    });
    this.said = element("p", { class: "quiet" }, "Wheel or + and - zoom, dragging or arrow keys move, a double click shows all.");
    const legend = ["holds", "waits", "forced"].map((kind) => element("span", { class: `key ${kind}` }, LEGEND[kind]));
    this.node = element("div", { class: "timeline" }, element("p", { class: "legend" }, legend), this.canvas, this.said);
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    const redraw = () => (this.canvas.isConnected ? this.draw() : removeEventListener("themechange", redraw));
    addEventListener("themechange", redraw);
  }

  spoken() {
    return this.threads
      .map(({ name, slices }) => {
        let held = 0;
        let waited = 0;
        for (let i = 0; i < slices.length; i += 3) {
          if (slices[i + 2] === WAITS) waited += slices[i + 1] - slices[i];
          else held += slices[i + 1] - slices[i];
        }
        return `${name} held the GIL for ${seconds(held * 1e-6)} and waited for ${seconds(waited * 1e-6)}`;
      })
      .join("; ");
  }

  show(from, to) {
    const width = Math.min(Math.max(to - from, 10), this.length);
    this.from = Math.min(Math.max(0, from), this.length - width);
    this.to = this.from + width;
    this.draw();
  }

  zoom(factor, at = (this.from + this.to) / 2) {
    this.show(at - (at - this.from) * factor, at + (this.to - at) * factor);
  }

  // How wide the names of the threads are.
  get names() {
    return this.canvas.clientWidth < 600 ? 84 : 150;
  }

  // The moment under a pointer.
  moment(event) {
    const box = this.canvas.getBoundingClientRect();
    return this.from + ((event.clientX - box.left - this.names) / (box.width - this.names)) * (this.to - this.from);
  }

  wheel(event) {
    event.preventDefault();
    this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.moment(event));
  }

  grab(event) {
    this.grabbed = this.moment(event);
    this.canvas.setPointerCapture(event.pointerId);
  }

  drag(event) {
    if (this.grabbed == null) return this.point(event);
    const by = this.grabbed - this.moment(event);
    this.show(this.from + by, this.to + by);
  }

  key(event) {
    const width = this.to - this.from;
    const moves = {
      ArrowLeft: () => this.show(this.from - width / 5, this.to - width / 5),
      ArrowRight: () => this.show(this.from + width / 5, this.to + width / 5),
      "+": () => this.zoom(0.8),
      "=": () => this.zoom(0.8),
      "-": () => this.zoom(1.25),
      0: () => this.show(0, this.length),
    };
    if (moves[event.key]) {
      event.preventDefault();
      moves[event.key]();
    }
  }

  point(event) {
    const moment = this.moment(event);
    const box = this.canvas.getBoundingClientRect();
    const thread = this.threads[Math.floor((event.clientY - box.top) / TRACK)];
    if (!thread || moment < 0) return;
    const words = ["waited", "held the GIL", "held the GIL until it was told to drop it"];
    for (let i = 0; i < thread.slices.length; i += 3) {
      const [from, to, kind] = thread.slices.slice(i, i + 3);
      if (from <= moment && moment <= to) {
        this.said.textContent = `${thread.name} ${words[kind]} for ${seconds((to - from) * 1e-6)}, from ${seconds(from * 1e-6)} on`;
        return;
      }
    }
    this.said.textContent = `${thread.name}: idle, or at work without the GIL, at ${seconds(moment * 1e-6)}`;
  }

  draw() {
    const ratio = devicePixelRatio || 1;
    const width = this.canvas.clientWidth;
    const height = this.threads.length * TRACK + AXIS;
    const names = this.names;
    if (width === 0) return;
    this.canvas.width = width * ratio;
    this.canvas.height = height * ratio;
    this.canvas.style.height = `${height}px`;
    const style = getComputedStyle(this.canvas);
    const [ink, quiet, line, holds, waits, forced] = ["--ink", "--quiet", "--line", "--holds", "--waits", "--forced"].map(
      (name) => style.getPropertyValue(name),
    );
    const paint = this.canvas.getContext("2d");
    paint.scale(ratio, ratio);
    paint.font = "12px system-ui, sans-serif";
    const scale = (width - names) / (this.to - this.from);
    const x = (moment) => names + (moment - this.from) * scale;
    if (this.unknown > this.from) {
      paint.fillStyle = line;
      paint.fillRect(names, 0, Math.min(width, x(this.unknown)) - names, height - AXIS);
      paint.fillStyle = quiet;
      paint.fillText("not recorded", names + 6, 17, Math.max(0, x(this.unknown) - names - 8));
    }
    this.threads.forEach(({ name, slices }, row) => {
      const y = row * TRACK;
      paint.fillStyle = line;
      paint.fillRect(0, y + TRACK - 1, width, 1);
      for (let i = 0; i < slices.length; i += 3) {
        const [from, to, kind] = [slices[i], slices[i + 1], slices[i + 2]];
        if (to < this.from || from > this.to) continue;
        const left = Math.max(names, x(from));
        paint.fillStyle = kind === WAITS ? waits : holds;
        paint.fillRect(left, y + (kind === WAITS ? 9 : 4), Math.max(0.6, Math.min(width, x(to)) - left), kind === WAITS ? 7 : 17);
        if (kind === 2 && x(to) >= names) {
          paint.fillStyle = forced;
          paint.fillRect(x(to) - 1, y + 2, 1.5, 21);
        }
      }
      paint.clearRect(0, y, names - 2, TRACK - 1);
      paint.fillStyle = ink;
      paint.fillText(shortened(paint, name, names - 10), 4, y + 17);
    });
    paint.fillStyle = quiet;
    const step = niceStep((this.to - this.from) / Math.max(2, (width - names) / 110));
    for (let at = Math.ceil(this.from / step) * step; at <= this.to; at += step) {
      paint.fillRect(x(at), 0, 0.5, height - AXIS + 4);
      const label = seconds(at * 1e-6);
      if (x(at) + 3 + paint.measureText(label).width <= width) paint.fillText(label, x(at) + 3, height - 6);
    }
  }
}

// The end of a name tells `pool-0_1` from `pool-0_2`: what is too much goes from the middle.
function shortened(paint, name, width) {
  if (paint.measureText(name).width <= width) return name;
  let kept = Math.min(name.length, 40);
  let short;
  do {
    kept--;
    short = `${name.slice(0, Math.ceil(kept / 2))}…${name.slice(name.length - Math.floor(kept / 2))}`;
  } while (kept > 2 && paint.measureText(short).width > width);
  return short;
}

// 1, 2 or 5 times a power of ten.
function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least);
}
