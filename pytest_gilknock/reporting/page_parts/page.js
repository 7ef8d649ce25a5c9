// Puts the page together from the run's data.

const data = JSON.parse(document.getElementById("run").textContent);

function tableOf(heads, rows, caption) {
  const unit = (place) => heads[place][1];
  return element(
    "div",
    { class: "scroll" },
    element(
      "table",
      {},
      element("caption", { class: "hidden" }, caption),
      element(
        "thead",
        {},
        element("tr", {}, heads.map(([head, kind]) => element("th", { scope: "col", class: TEXTS.has(kind) ? "" : "number" }, head))),
      ),
      element(
        "tbody",
        {},
        rows.map((row) =>
          element(
            "tr",
            {},
            row.map((value, place) =>
              element("td", { class: TEXTS.has(unit(place)) ? unit(place) : "number" }, PRINTED[unit(place)](value)),
            ),
          ),
        ),
      ),
    ),
  );
}

function section(title, explains, ...children) {
  return element("section", {}, element("h2", {}, title), explains ? element("p", { class: "quiet" }, explains) : null, ...children);
}

const HOLD_COLUMNS = {
  place: ["native call", "place"],
  longest: ["longest", "s"],
  holds: ["holds", "count"],
  held: ["held", "s"],
  tests: ["tests", "count"],
  threads: ["thread", "text"],
};
const HOLDS_EXPLAINED = "Places at which the GIL was kept although a thread had waited a switch interval for it and asked.";

// `rows` have a value for each of HOLD_COLUMNS, those of one test without the number of tests.
function holdsOf(title, rows, lacks) {
  const { tests, ...ofOneTest } = HOLD_COLUMNS;
  const columns = Object.values(rows[0].length === 5 ? ofOneTest : HOLD_COLUMNS);
  return section(title, [HOLDS_EXPLAINED, ...lacks].join(" "), tableOf(columns, rows, title));
}

function auditOf({ holds, more, unseen }) {
  const title = "Native calls that keep the GIL";
  const lacks = [
    more ? `${count(more, "more place")} left out.` : "",
    unseen ? `${count(unseen, "more hold")} whose place is not known.` : "",
  ].filter(Boolean);
  if (holds.length) return holdsOf(title, holds, lacks);
  return section(title, lacks.join(" ") || "None: each hold ended when a thread asked for it.");
}

// --- one test ---

const dialog = document.querySelector("dialog");

function limitsOf(details) {
  return details.verdicts.map(([text, breached]) => element("p", { class: breached ? "breach" : "caveat" }, text));
}

function chartsOf(details) {
  const charts = [];
  if (details.timeline) {
    const { threads, length, unknown, left_out, shortest, threads_left_out } = details.timeline;
    const lacks = [
      left_out ? `${count(left_out, "slice")} of ${seconds(shortest * 1e-6)} or less left out.` : "",
      threads_left_out ? `${count(threads_left_out, "thread")} left out.` : "",
      unknown ? `Of the first ${seconds(unknown * 1e-6)} nothing was recorded: raise the ini key gil_trace_events.` : "",
    ].filter(Boolean);
    charts.push(section("Timeline", lacks.join(" "), new Timeline(threads, length, unknown).node));
  }
  if (details.blame.length) {
    const isGil = !details.waited_for;
    const graph = new FlameGraph(details.blame, details.own, "all waiting", isGil ? "the wait whose holder was seen, by who it was" : "the wait, by who ended it");
    const others = details.by_knocks ? "gilknock's own thread waited; no thread of the program did, as far as is known" : "others waited";
    const where = isGil ? `Where the thread that held the GIL stood while ${others}.` : `Where the threads stood that let go what was mostly waited for: ${details.waited_for}.`;
    charts.push(section(isGil ? "Who held it" : "Who let go", where, graph.node));
  }
  if (details.victims.length) {
    const graph = new FlameGraph(details.victims, details.own, "all waiting", "the wait, by who waited");
    charts.push(section("Who waited", `Where the threads stood that waited${details.waited_for ? `: ${details.waited_for}` : " for the GIL"}.`, graph.node));
  }
  if (details.waits.length) {
    const explains = "Waits for the GIL by their length, each bar from the length below it to twice that.";
    charts.push(section("How long waits lasted", explains, histogramOf(details.waits)));
  }
  return charts;
}

let asked = 0;

async function open(index) {
  const turn = ++asked;
  const details = await detailsOf(index, data.batch);
  if (turn !== asked) return; // another test was opened meanwhile
  const body = element(
    "div",
    { class: "test" },
    element("h1", {}, data.rows[index][0]),
    element("dl", { class: "figures" }, details.figures.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)))),
    details.longest ? element("p", {}, `${details.longest}.`) : null,
    details.convoy ? element("p", { class: "convoy" }, `Convoy: ${details.convoy}.`) : null,
    limitsOf(details),
    details.holds.length ? holdsOf("Kept the GIL", details.holds, []) : null,
    details.locks.length ? section("Waits for locks", null, element("pre", {}, details.locks.join("\n"))) : null,
    chartsOf(details),
    details.threads.length
      ? section(
          "Threads",
          null,
          tableOf(
            [["thread", "text"], ["held", "s"], ["waited", "s"], ["longest wait", "s"], ["took it", "count"], ["had to wait", "count"]],
            details.threads,
            "Threads of this test",
          ),
        )
      : null,
  );
  dialog.querySelector(".content").replaceChildren(body);
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

function openByAddress() {
  const found = /^#test-(\d+)$/.exec(location.hash);
  if (found && data.rows[Number(found[1])]) open(Number(found[1]));
  else if (dialog.open) dialog.close();
}

// --- the run ---

function barsOf(places, total, verb) {
  return element(
    "ol",
    { class: "bars" },
    places.map((place) =>
      element(
        "li",
        {},
        element("span", { class: "bar", style: `width: ${total > 0 ? (100 * place.waited) / total : 0}%` }),
        element("code", {}, place.place),
        element(
          "span",
          { class: "quiet" },
          ` ${seconds(place.waited)}, ${percent(place.waited, total)} ${verb}, in ${count(place.tests, "test")}; ${place.threads}`,
        ),
      ),
    ),
  );
}

function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const root = document.documentElement;
  root.dataset.theme = (root.dataset.theme || (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
  try {
    localStorage.setItem("gilknock-theme", root.dataset.theme);
  } catch {
    // A page opened from a file may have no storage; the choice lasts as long as the page.
  }
  dispatchEvent(new Event("themechange"));
}

function stallsOf(stalls) {
  return stalls.map(({ test, lasted, place, thread, stacks }) =>
    element(
      "details",
      { class: "stall" },
      element(
        "summary",
        {},
        `${seconds(lasted)}${test ? ` in ${test}` : ""}${place ? `, held at ${place}` : ""}${thread ? ` by ${thread}` : ""}`,
      ),
      element("pre", { tabindex: 0 }, stacks || "The stacks could not be written."),
    ),
  );
}

const CHANGE_COLUMNS = [
  { head: "test", unit: "text", explains: "the test's id" },
  { head: "verdict", unit: "text", explains: "what the change counts as" },
  { head: "metric", unit: "text", explains: "what is compared" },
  { head: "before", unit: "printed", explains: "the median of the saved runs" },
  { head: "after", unit: "printed", explains: "this run" },
  { head: "change", unit: "printed", explains: "after less before" },
  { head: "relative", unit: "printed", explains: "the change as a share of what it was" },
  { head: "held by", unit: "place", explains: "where the GIL was held while others waited, after" },
];
const CHANGE_CLASSES = { "over the gate": "breach", inconclusive: "caveat", worse: "worse", better: "better", steady: "" };
const CHANGE_FILTERS = {
  "what changed": (verdict) => verdict !== "steady",
  "over the gate": (verdict) => verdict === "over the gate",
  "not surely over it": (verdict) => verdict === "inconclusive",
  worse: (verdict) => verdict === "worse",
  better: (verdict) => verdict === "better",
  unchanged: (verdict) => verdict === "steady",
  all: () => true,
};

function comparisonOf({ notes, caveats, rows, left_out }) {
  const places = new Map(data.rows.map((row, index) => [row[0], index]));
  const address = (row) => (places.has(rows[row][0]) ? `#test-${places.get(rows[row][0])}` : null);
  const table = new TestsTable(
    CHANGE_COLUMNS,
    rows,
    Object.fromEntries(Object.entries(CHANGE_FILTERS).map(([name, passes]) => [name, (row) => passes(rows[row][1])])),
    (row) => CHANGE_CLASSES[rows[row][1]],
    (row) => address(row) && (location.hash = address(row)),
    address,
    { caption: "Changes since the baseline", noun: "change" },
  );
  const node = section(
    "Compared with the baseline",
    null,
    notes.map((line) => element("p", {}, line)),
    caveats.map((line) => element("p", { class: "caveat" }, line)),
    table.node,
    left_out ? element("p", { class: "quiet" }, `${count(left_out, "unchanged metric")} left out.`) : null,
  );
  node.id = "comparison";
  return node;
}

function testsOf() {
  const address = (index) => `#test-${index}`;
  const used = data.filters.filter(([, flag]) => !flag || data.flags.some((flags) => flags.includes(flag)));
  const table = new TestsTable(
    data.columns,
    data.rows,
    Object.fromEntries(used.map(([name, flag]) => [name, (index) => !flag || data.flags[index].includes(flag)])),
    (index) => data.flags[index],
    (index) => (location.hash = address(index)),
    address,
    { caption: "Measured tests", noun: data.noun },
  );
  return section("Tests", "Click a column to sort by it, a test to see its threads, stacks and waits.", table.node);
}

function start() {
  const main = document.querySelector("main");
  if (data.audit) main.append(auditOf(data.audit));
  if (data.stalls.length) {
    main.append(section("Stalls", "No thread could get the GIL for so long; open one to see where all threads stood.", stallsOf(data.stalls)));
  }
  if (data.comparison) main.append(comparisonOf(data.comparison));
  if (data.rows.length) main.append(testsOf());
  const places = document.getElementById("places");
  if (data.holders.length) {
    places.append(
      section("Top holders", "Lines whose thread held the GIL while others waited, over all tests.", barsOf(data.holders, data.wait, "of the wait")),
    );
  }
  if (data.victims.length) {
    places.append(section("Top victims", "Lines that waited for it.", barsOf(data.victims, data.wait, "of the wait")));
  }
  dialog.addEventListener("close", () => {
    asked++;
    dialog.querySelector(".content").replaceChildren();
    history.replaceState(null, "", location.pathname + location.search);
  });
  dialog.querySelector("button").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.getElementById("theme").addEventListener("click", theme);
  addEventListener("hashchange", openByAddress);
  addEventListener("beforeprint", () => document.querySelectorAll("body > details").forEach((one) => (one.open = true)));
  openByAddress();
}

start();
