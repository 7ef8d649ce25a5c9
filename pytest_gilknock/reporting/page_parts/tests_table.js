// The table of tests: sorted by any column, searched, filtered, a hundred rows at a time.

const ROWS_AT_ONCE = 100;

class TestsTable {
  // `columns`: {head, unit, explains}; `rows`: arrays of values in their order, the test's id last;
  // `filters`: {name: (row index) => boolean}; `open(index)` shows one test.
  constructor(columns, rows, filters, flags, open) {
    Object.assign(this, { columns, rows, filters, flags, open });
    this.shown = ROWS_AT_ONCE;
    this.words = [];
    this.filter = Object.keys(filters)[0];
    this.ids = rows.map((row) => row.at(-1).toLowerCase());
    this.build();
    this.sortBy(columns.findIndex((column) => column.first), false);
  }

  build() {
    this.search = element("input", {
      type: "search",
      placeholder: "Search tests and lines",
      "aria-label": "Search tests and lines",
      oninput: () => {
        this.words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
        this.restart();
      },
    });
    const choice = element(
      "select",
      { "aria-label": "Which tests", onchange: () => ((this.filter = choice.value), this.restart()) },
      Object.keys(this.filters).map((name) => element("option", { value: name }, name)),
    );
    this.said = element("output", { class: "quiet" });
    this.heads = this.columns.map((column, place) =>
      element(
        "th",
        { scope: "col", class: column.unit === "text" ? "" : "number" },
        element("button", { type: "button", title: column.explains, onclick: () => this.sortBy(place) }, column.head),
      ),
    );
    this.body = element("tbody", { onclick: (event) => this.clicked(event) });
    this.more = element("button", { type: "button", class: "more", onclick: () => this.showMore() });
    this.node = element(
      "div",
      {},
      element("div", { class: "tools" }, this.search, choice, this.said),
      element(
        "div",
        { class: "scroll" },
        element(
          "table",
          { class: "tests" },
          element("caption", { class: "hidden" }, "Measured tests"),
          element("thead", {}, element("tr", {}, this.heads)),
          this.body,
        ),
      ),
      this.more,
    );
  }

  // Numbers begin with the largest, texts with the first.
  sortBy(place, turn = true) {
    const text = this.columns[place].unit === "text";
    this.down = turn && this.sorted === place ? !this.down : !text;
    this.sorted = place;
    const sign = this.down ? -1 : 1;
    const least = text ? "" : -1;
    this.order = this.rows
      .map((row, index) => [row[place] ?? least, index])
      .sort(([a, i], [b, j]) => (a < b ? -sign : a > b ? sign : i - j))
      .map(([, index]) => index);
    this.heads.forEach((head, other) => {
      if (other === place) head.setAttribute("aria-sort", this.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    this.restart();
  }

  restart() {
    this.shown = ROWS_AT_ONCE;
    this.body.replaceChildren();
    const passes = this.filters[this.filter];
    const texts = this.columns.map((column, place) => place).filter((place) => this.columns[place].unit === "text");
    this.found = this.order.filter(
      (index) =>
        passes(index) &&
        this.words.every((word) => texts.some((place) => (this.rows[index][place] ?? "").toLowerCase().includes(word))),
    );
    this.said.textContent =
      this.found.length === this.rows.length
        ? count(this.rows.length, "test")
        : `${this.found.length.toLocaleString("en")} of ${count(this.rows.length, "test")}`;
    this.fillRows();
  }

  showMore() {
    this.shown += ROWS_AT_ONCE;
    this.fillRows();
  }

  fillRows() {
    for (const index of this.found.slice(this.body.children.length, this.shown)) this.body.append(this.row(index));
    const left = this.found.length - this.body.children.length;
    this.more.hidden = left <= 0;
    this.more.textContent = `Show ${Math.min(left, ROWS_AT_ONCE)} more of ${left.toLocaleString("en")}`;
  }

  row(index) {
    const last = this.columns.length - 1;
    return element(
      "tr",
      { "data-index": index, class: this.flags(index) },
      this.columns.map((column, place) => {
        const text = PRINTED[column.unit](this.rows[index][place]);
        return place === last
          ? element("th", { scope: "row" }, element("a", { href: `#test-${index}` }, text))
          : element("td", { class: column.unit === "text" ? "" : "number" }, text);
      }),
    );
  }

  clicked(event) {
    const row = event.target.closest("tr");
    if (row && !event.target.closest("a") && String(getSelection()) === "") this.open(Number(row.dataset.index));
  }
}
