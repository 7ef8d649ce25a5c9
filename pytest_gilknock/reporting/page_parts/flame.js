// A flame graph, root on top: the width of a frame is the wait of all stacks that pass through it. Arrow keys go
// from frame to frame, Enter zooms; only one of them is a stop of the tab key.

const FRAME_HEIGHT = 20;
const LEAST_WIDTH = 0.003; // of the whole; narrower frames are not drawn

// `stacks`: [[frame texts, outermost first], seconds]. Equal ways from the root become one frame.
function treeOf(stacks, name) {
  const root = { name, value: 0, children: new Map() };
  for (const [frames, value] of stacks) {
    let node = root;
    node.value += value;
    for (const frame of frames) {
      if (!node.children.has(frame)) node.children.set(frame, { name: frame, value: 0, children: new Map() });
      node = node.children.get(frame);
      node.value += value;
    }
  }
  return root;
}

class FlameGraph {
  // `own`: texts of the frames that are the program's own; they stand out from those of libraries.
  constructor(stacks, own, name, meaning) {
    this.own = new Set(own);
    this.root = treeOf(stacks, name);
    this.meaning = meaning;
    this.said = element("p", { class: "quiet", "aria-live": "polite" });
    this.picture = drawing("svg", { class: "flame", role: "group", "aria-label": meaning });
    this.node = element("div", { class: "flame-box" }, this.picture, this.said);
    this.zoom(this.root, []);
  }

  zoom(node, above) {
    const focused = this.picture.contains(document.activeElement);
    this.picture.replaceChildren();
    this.rows = [];
    let depth = 0;
    const draw = (frame, level, x, width, path) => {
      depth = Math.max(depth, level + 1);
      this.picture.append(this.frame(frame, level, x, width, path));
      let from = x;
      const below = [...frame.children.values()].sort((a, b) => b.value - a.value);
      for (const child of below) {
        const part = (width * child.value) / frame.value;
        if (part > LEAST_WIDTH) draw(child, level + 1, from, part, [...path, frame]);
        from += part;
      }
    };
    above.forEach((frame, level) => draw({ ...frame, children: new Map() }, level, 0, 1, above.slice(0, level)));
    if (node.value > 0) draw(node, above.length, 0, 1, above);
    this.picture.setAttribute("height", depth * FRAME_HEIGHT);
    this.say(node);
    const zoomed = this.rows[above.length]?.[0];
    if (zoomed) this.stopAt(zoomed.node);
    if (zoomed && focused) zoomed.node.focus();
  }

  // Make a frame the stop of the tab key.
  stopAt(node) {
    this.stop?.setAttribute("tabindex", -1);
    this.stop = node;
    node.setAttribute("tabindex", 0);
  }

  // Go to the frame above, below or beside.
  move(event, level, x, width) {
    const row = this.rows[level];
    const place = row.findIndex((one) => one.x === x);
    const within = (one) => one.x + 1e-9 >= x && one.x < x + width;
    const around = (one) => one.x <= x + 1e-9 && x < one.x + one.width;
    const next = {
      ArrowUp: () => this.rows[level - 1]?.find(around),
      ArrowDown: () => this.rows[level + 1]?.find(within),
      ArrowLeft: () => row[place - 1],
      ArrowRight: () => row[place + 1],
      Home: () => this.rows[0][0],
    }[event.key];
    if (!next) return;
    event.preventDefault();
    next()?.node.focus();
  }

  frame(frame, level, x, width, path) {
    const label = `${frame.name}: ${seconds(frame.value)}, ${percent(frame.value, this.root.value)}`;
    const zoom = () => this.zoom(path.length ? this.at([...path.slice(1), frame]) : this.root, path);
    const node = drawing(
      "svg",
      {
        class: `frame ${this.kindOf(frame)}`,
        x: `${x * 100}%`,
        y: level * FRAME_HEIGHT,
        width: `${width * 100}%`,
        height: FRAME_HEIGHT,
        tabindex: -1,
        role: "button",
        "aria-label": label,
        onclick: zoom,
        onfocus: () => (this.stopAt(node), this.say(frame)),
        onmouseenter: () => this.say(frame),
        onkeydown: (event) => (event.key === "Enter" ? zoom() : this.move(event, level, x, width)),
      },
      drawing("title", {}, label),
      drawing("rect", { width: "100%", height: FRAME_HEIGHT - 1 }),
      drawing("text", { x: 4, y: 14 }, frame.name),
    );
    (this.rows[level] ??= []).push({ node, x, width });
    return node;
  }

  // The same frame in the whole tree; what is drawn above a zoomed frame is without its children.
  at(path) {
    return path.reduce((node, frame) => node.children.get(frame.name) ?? node, this.root);
  }

  kindOf(frame) {
    if (frame.name === this.root.name || /^[<(]/.test(frame.name)) return "special";
    return this.own.has(frame.name) ? "own" : "library";
  }

  say(frame) {
    this.said.textContent = `${frame.name}: ${seconds(frame.value)}, ${percent(frame.value, this.root.value)} of ${this.meaning}`;
  }
}

