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
        element("tr", {}, heads.map(([head, kind]) => element("th", { scope: "col", class: kind === "text" ? "" : "number" }, head))),
      ),
      element(
        "tbody",
        {},
        rows.map((row) =>
          element(
            "tr",
            {},
            row.map((value, place) =>
              element("td", { class: unit(place) === "text" ? "" : "number" }, PRINTED[unit(place)](value)),
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

// --- one test ---

const dialog = document.querySelector("dialog");

function limitsOf(details) {
  return details.verdicts.map(([text, breached]) => element("p", { class: breached ? "breach" : "doubt" }, text));
}

function chartsOf(details) {
  const charts = [];
  if (details.timeline) {
    const timeline = new Timeline(details.timeline.threads, details.timeline.length);
    const left = details.timeline.left_out;
    charts.push(section("Timeline", left ? `The first part only: ${count(left, "slice")} left out.` : null, timeline.node));
  }
  if (details.blame.length) {
    const graph = new FlameGraph(details.blame, details.own, "all waiting", "the wait, by who held the GIL meanwhile");
    charts.push(section("Who held it", "Where the thread that held the GIL stood while others waited.", graph.node));
  }
  if (details.victims.length) {
    const graph = new FlameGraph(details.victims, details.own, "all waiting", "the wait, by who waited");
    charts.push(section("Who waited", "Where the threads stood that waited for the GIL.", graph.node));
  }
  if (details.waits.length) {
    charts.push(section("How long waits lasted", null, histogramOf(details.waits)));
  }
  return charts;
}

async function open(index) {
  const details = await detailsOf(index, data.batch);
  const body = element(
    "div",
    { class: "test" },
    element("h1", {}, data.rows[index].at(-1)),
    element("dl", { class: "figures" }, details.figures.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)))),
    details.longest ? element("p", {}, details.longest) : null,
    limitsOf(details),
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

function start() {
  const main = document.querySelector("main");
  const table = new TestsTable(
    data.columns,
    data.rows,
    Object.fromEntries(data.filters.map(([name, flag]) => [name, (index) => !flag || data.flags[index].includes(flag)])),
    (index) => data.flags[index],
    (index) => (location.hash = `#test-${index}`),
  );
  main.append(
    section("Tests", "Click a column to sort by it, a test to see its threads, stacks and waits.", table.node),
    data.comparison
      ? section(
          "Compared with the baseline",
          data.comparison.explains,
          tableOf(data.comparison.heads, data.comparison.rows, "Changes since the baseline"),
        )
      : "",
  );
  const places = document.getElementById("places");
  if (data.holders.length) {
    places.append(
      section("Top holders", "Lines whose thread held the GIL while others waited, over all tests.", barsOf(data.holders, data.wait, "of the wait")),
    );
  }
  if (data.victims.length) {
    places.append(section("Top victims", "Lines that waited for it.", barsOf(data.victims, data.wait, "of the wait")));
  }
  dialog.addEventListener("close", () => history.replaceState(null, "", location.pathname + location.search));
  dialog.querySelector("button").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.getElementById("theme").addEventListener("click", theme);
  addEventListener("hashchange", openByAddress);
  openByAddress();
}

start();
