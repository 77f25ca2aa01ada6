// Sorting, filtering, and tooltips of charts by pointer or arrow keys. The page shows everything
// without it.
"use strict";
(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  // A heading that sorts becomes a button. Rows without a number come last, whichever way.
  for (const table of all("table.sortable")) {
    const body = table.tBodies[0];
    all("thead th", table).forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const value = (row) => {
          const cell = row.cells[column];
          if (!head.classList.contains("n")) return cell.textContent.trim();
          return cell.dataset.v === undefined ? NaN : Number(cell.dataset.v);
        };
        const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
        const missing = (v) => typeof v === "number" && Number.isNaN(v);
        const rows = [...body.rows].map((row) => [row, value(row)]);
        rows.sort(([, a], [, b]) => {
          if (missing(a) || missing(b)) return missing(a) - missing(b);
          return down ? compare(b, a) : compare(a, b);
        });
        body.append(...rows.map(([row]) => row));
      });
    });
  }

  // Every word of a filter must stand somewhere in the row.
  for (const tools of all(".tools[data-for]")) {
    const table = document.getElementById(tools.dataset.for);
    const [input, select, count] = [tools.querySelector("input"), tools.querySelector("select"), tools.querySelector("output")];
    const apply = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        const fits = words.every((word) => text.includes(word)) && (!select || !select.value || row.dataset.state === select.value);
        row.hidden = !fits;
        shown += fits;
      }
      count.textContent = `${shown} of ${table.tBodies[0].rows.length}`;
    };
    input.addEventListener("input", apply);
    if (select) select.addEventListener("change", apply);
    tools.hidden = false;
    apply();
  }

  // A legend's name shows and hides its series.
  for (const entry of all(".figure li[data-z]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", "true");
    button.append(...entry.childNodes);
    entry.append(button);
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") === "false";
      button.setAttribute("aria-pressed", String(on));
      all(`.z${entry.dataset.z}`, entry.closest(".figure")).forEach((drawn) => { drawn.style.display = on ? "" : "none"; });
    });
  }

  // A tooltip appears under the pointer; the arrow keys step from point to point.
  const tip = document.getElementById("tip");
  const say = (mark) => {
    all(".marks .at").forEach((other) => other.classList.remove("at"));
    tip.hidden = !mark;
    if (!mark) return;
    const title = mark.querySelector("title");
    // The browser would show the same a second later.
    if (title) { mark.dataset.words = title.textContent; title.remove(); }
    mark.classList.add("at");
    tip.textContent = mark.dataset.words;
    const at = mark.getBoundingClientRect();
    const left = Math.min(Math.max(at.left + at.width / 2 - tip.offsetWidth / 2, 4), document.documentElement.clientWidth - tip.offsetWidth - 4);
    const above = at.top - tip.offsetHeight - 6;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 4 ? above : at.bottom + 6}px`;
  };
  for (const chart of all(".panels svg")) {
    const marks = () => all(".marks rect", chart).filter((mark) => mark.style.display !== "none");
    chart.tabIndex = 0;
    chart.addEventListener("pointermove", (event) => say(event.target.closest(".marks rect")));
    chart.addEventListener("pointerleave", () => say(null));
    chart.addEventListener("blur", () => say(null));
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") say(null);
      if (!step) return;
      event.preventDefault();
      const list = marks();
      const at = list.findIndex((mark) => mark.classList.contains("at"));
      say(list[at < 0 ? 0 : (at + step + list.length) % list.length]);
    });
  }

  // A link into a part that is folded unfolds it; so does printing.
  const unfold = () => {
    let id = location.hash.slice(1);
    // An address that is no valid encoding names no part of the page.
    try { id = decodeURIComponent(id); } catch {}
    const target = id && document.getElementById(id);
    for (let at = target && target.parentElement; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    if (target) target.scrollIntoView({ block: "center" });
  };
  addEventListener("hashchange", unfold);
  unfold();
  addEventListener("beforeprint", () => all("details").forEach((details) => { details.open = true; }));
})();
