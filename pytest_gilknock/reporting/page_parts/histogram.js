// How long waits lasted: a bar for each power of two.

const HISTOGRAM = { height: 150, foot: 34, head: 18, widest: 760, label: 48 };

// `buckets`: [[least seconds, count]], each reaching to twice its least; ascending.
function histogramOf(buckets) {
  const { height, foot, head, widest, label } = HISTOGRAM;
  const width = Math.min(widest, Math.max(280, document.documentElement.clientWidth - 70));
  const most = Math.max(...buckets.map(([, number]) => number));
  const power = (least) => Math.round(Math.log2(least * 1e6));
  const first = power(buckets[0][0]);
  const places = power(buckets.at(-1)[0]) - first + 1;
  const step = width / Math.max(places, 8);
  const every = Math.ceil(label / step);
  const total = buckets.reduce((sum, [, number]) => sum + number, 0);
  const spoken = buckets.map(([least, number]) => `${number} from ${briefly(least)}`).join(", ");
  const foots = Array.from({ length: places }, (_, place) => place).filter((place) => place % every === 0);
  return drawing(
    "svg",
    {
      class: "histogram",
      width,
      height,
      role: "img",
      "aria-label": `${count(total, "wait")} by their length: ${spoken}`,
    },
    buckets.map(([least, number]) => {
      const x = (power(least) - first) * step;
      const tall = Math.max(1, ((height - foot - head) * number) / most);
      return drawing(
        "g",
        {},
        drawing("title", {}, `${count(number, "wait")} from ${briefly(least)} to ${briefly(2 * least)}`),
        drawing("rect", { x: x + 1, y: height - foot - tall, width: step - 2, height: tall }),
        drawing("text", { x: x + step / 2, y: height - foot - tall - 4, class: "middle" }, number.toLocaleString("en")),
      );
    }),
    drawing("line", { x1: 0, x2: places * step, y1: height - foot + 0.5, y2: height - foot + 0.5 }),
    foots.map((place) =>
      drawing("text", { x: place * step + 1, y: height - foot + 15, class: "quiet" }, briefly(1e-6 * 2 ** (first + place))),
    ),
  );
}
