COLUMNS = {"gil_wait_s": "GIL wait (s)", "gil_blame": "Held by"}


def pytest_html_results_table_header(cells):
    cells[2:2] = [f"<th>{title}</th>" for title in COLUMNS.values()]


def pytest_html_results_table_row(report, cells):
    found = dict(report.user_properties)
    cells[2:2] = [f"<td>{found.get(name, '')}</td>" for name in COLUMNS]
