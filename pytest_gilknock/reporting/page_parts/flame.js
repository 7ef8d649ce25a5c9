// A flame graph, root on top: the width of a frame is the wait of all stacks that pass through it.

const FRAME_HEIGHT = 20;
const LEAST_WIDTH = 0.0008; // of the whole; narrower frames are not drawn

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
    this.picture.replaceChildren();
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
  }

  frame(frame, level, x, width, path) {
    const label = `${frame.name}: ${seconds(frame.value)}, ${percent(frame.value, this.root.value)}`;
    const zoom = () => this.zoom(path.length ? this.at([...path.slice(1), frame]) : this.root, path);
    return drawing(
      "svg",
      {
        class: `frame ${this.kindOf(frame)}`,
        x: `${x * 100}%`,
        y: level * FRAME_HEIGHT,
        width: `${width * 100}%`,
        height: FRAME_HEIGHT,
        tabindex: 0,
        role: "button",
        "aria-label": label,
        onclick: zoom,
        onfocus: () => this.say(frame),
        onmouseenter: () => this.say(frame),
        onkeydown: (event) => event.key === "Enter" && zoom(),
      },
      drawing("title", {}, label),
      drawing("rect", { width: "100%", height: FRAME_HEIGHT - 1 }),
      drawing("text", { x: 4, y: 14 }, frame.name),
    );
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

