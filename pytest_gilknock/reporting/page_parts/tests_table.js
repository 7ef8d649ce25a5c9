// A table with a test in each row: sorted by any column, searched, filtered, a hundred rows at a time.

const ROWS_AT_ONCE = 100;
const TEXTS = new Set(["text", "place"]);

class TestsTable {
  // `columns`: {head, unit, explains, first}; `rows`: arrays of values in their order, the test's id first;
  // `filters`: {name: (row index) => boolean}, of which the first holds at the start; `flags(index)`: classes
  // of a row; `open(index)` shows one test, `address(index)` is where it is found, null where it is not known;
  // `words`: {caption, noun}.
  constructor(columns, rows, filters, flags, open, address, words) {
    Object.assign(this, { columns, rows, filters, flags, open, address });
    this.named = words;
    this.shown = ROWS_AT_ONCE;
    this.words = [];
    this.filter = Object.keys(filters)[0];
    this.build();
    this.order = rows.map((row, index) => index);
    const first = columns.findIndex((column) => column.first);
    this.most = first >= 0 ? rows.reduce((most, row) => Math.max(most, row[first] ?? 0), 0) : 0;
    if (first >= 0) this.sortBy(first, false);
    else this.restart();
  }

  build() {
    this.search = element("input", {
      type: "search",
      placeholder: "Search tests and lines",
      "aria-label": `Search ${this.named.caption.toLowerCase()}`,
      oninput: () => {
        this.words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
        this.restart();
      },
    });
    const choice = element(
      "select",
      { "aria-label": `Which ${this.named.noun}s`, onchange: () => ((this.filter = choice.value), this.restart()) },
      Object.keys(this.filters).map((name) => element("option", { value: name }, name)),
    );
    this.said = element("output", { class: "quiet", "aria-live": "polite" });
    this.heads = this.columns.map((column, place) =>
      element(
        "th",
        { scope: "col", class: TEXTS.has(column.unit) ? "" : "number" },
        element("button", { type: "button", title: column.explains, onclick: () => this.sortBy(place) }, column.head),
      ),
    );
    this.body = element("tbody", { onclick: (event) => this.clicked(event) });
    this.none = element("p", { class: "quiet none", hidden: true }, `No ${this.named.noun} to show.`);
    this.more = element("button", { type: "button", class: "more", onclick: () => this.showMore() });
    this.node = element(
      "div",
      {},
      element("div", { class: "tools" }, this.search, choice, this.said),
      element(
        "div",
        { class: "scroll", tabindex: 0, role: "region", "aria-label": this.named.caption },
        element(
          "table",
          { class: "tests" },
          element("caption", { class: "hidden" }, this.named.caption),
          element("thead", {}, element("tr", {}, this.heads)),
          this.body,
        ),
      ),
      this.none,
      this.more,
    );
  }

  // Numbers begin with the largest, texts with the first.
  sortBy(place, turn = true) {
    const text = TEXTS.has(this.columns[place].unit);
    this.down = turn && this.sorted === place ? !this.down : !text;
    this.sorted = place;
    const sign = this.down ? -1 : 1;
    const least = text ? "" : -Infinity;
    const sorted = this.columns[place].unit === "printed" ? (row) => row[place][0] : (row) => row[place] ?? least;
    this.order = this.rows
      .map((row, index) => [sorted(row), index])
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
    const texts = this.columns.map((column, place) => place).filter((place) => TEXTS.has(this.columns[place].unit));
    this.found = this.order.filter(
      (index) =>
        passes(index) &&
        this.words.every((word) => texts.some((place) => (this.rows[index][place] ?? "").toLowerCase().includes(word))),
    );
    this.said.textContent =
      this.found.length === this.rows.length
        ? count(this.rows.length, this.named.noun)
        : `${this.found.length.toLocaleString("en")} of ${count(this.rows.length, this.named.noun)}`;
    this.fillRows();
  }

  showMore() {
    this.shown += ROWS_AT_ONCE;
    this.fillRows();
  }

  fillRows() {
    for (const index of this.found.slice(this.body.children.length, this.shown)) this.body.append(this.row(index));
    const left = this.found.length - this.body.children.length;
    this.none.hidden = this.found.length > 0;
    this.more.hidden = left <= 0;
    this.more.textContent = `Show ${Math.min(left, ROWS_AT_ONCE)} more of ${left.toLocaleString("en")}`;
  }

  row(index) {
    const address = this.address(index);
    return element(
      "tr",
      { "data-index": index, class: this.flags(index) },
      this.columns.map((column, place) => {
        const text = PRINTED[column.unit](this.rows[index][place]);
        return place === 0
          ? element("th", { scope: "row" }, element(address == null ? "span" : "a", { href: address }, text))
          : column.first && this.most > 0
            ? element("td", { class: "number part", style: `--part: ${(100 * (this.rows[index][place] ?? 0)) / this.most}%` }, text)
            : element("td", { class: TEXTS.has(column.unit) ? column.unit : "number" }, text);
      }),
    );
  }

  clicked(event) {
    const row = event.target.closest("tr");
    if (row && !event.target.closest("a") && String(getSelection()) === "") this.open(Number(row.dataset.index));
  }
}
