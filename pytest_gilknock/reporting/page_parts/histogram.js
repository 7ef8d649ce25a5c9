// How long waits lasted: a bar for each power of two.

const HISTOGRAM = { width: 640, height: 140, foot: 34, head: 16 };

// `buckets`: [[least seconds, count]], each reaching to twice its least; ascending.
function histogramOf(buckets) {
  const { width, height, foot, head } = HISTOGRAM;
  const most = Math.max(...buckets.map(([, number]) => number));
  const first = Math.log2(buckets[0][0]);
  const places = Math.round(Math.log2(buckets.at(-1)[0]) - first) + 1;
  const step = width / Math.max(places, 6);
  const total = buckets.reduce((sum, [, number]) => sum + number, 0);
  const spoken = buckets.map(([least, number]) => `${number} from ${seconds(least)}`).join(", ");
  return drawing(
    "svg",
    {
      class: "histogram",
      viewBox: `0 0 ${width} ${height}`,
      role: "img",
      "aria-label": `${count(total, "wait")} by their length: ${spoken}`,
    },
    buckets.map(([least, number]) => {
      const x = Math.round(Math.log2(least) - first) * step;
      const tall = Math.max(1, ((height - foot - head) * number) / most);
      return drawing(
        "g",
        {},
        drawing("title", {}, `${count(number, "wait")} from ${seconds(least)} to ${seconds(2 * least)}`),
        drawing("rect", { x: x + 1, y: height - foot - tall, width: step - 2, height: tall }),
        drawing("text", { x: x + step / 2, y: height - foot - tall - 4, class: "middle" }, String(number)),
        drawing("text", { x: x + step / 2, y: height - foot + 14, class: "middle quiet" }, seconds(least)),
      );
    }),
  );
}
