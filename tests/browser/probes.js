// What the tests ask of an open page; each function returns a list of faults as text, empty when all is well.
({
  clipped() {
    const faults = [];
    const wide = document.documentElement.clientWidth;
    const name = (item) =>
      `${item.tagName.toLowerCase()} "${item.textContent.trim().replace(/\s+/g, " ").slice(0, 50)}"`;
    const hidden = (item) => item.closest(".skip, .hidden, details:not([open]) > :not(summary), defs, clipPath");
    for (const item of document.querySelectorAll("body *")) {
      if (hidden(item)) { continue; }
      const box = item.getBoundingClientRect();
      if (box.width === 0 || box.height === 0) { continue; }
      const svg = item.closest("svg");
      if (!svg && (box.left < -1 || box.right > wide + 1)) {
        faults.push(`${name(item)} from ${box.left.toFixed(0)} to ${box.right.toFixed(0)} of ${wide}`);
      }
      if (item.tagName === "text" && svg) {
        // Readers' fonts differ a little from the one that a picture was measured with.
        const room = getComputedStyle(svg).overflow === "visible" ? 5 : 1;
        const frame = svg.getBoundingClientRect();
        if (box.left < Math.max(0, frame.left - room) || box.right > Math.min(wide, frame.right + room)
            || box.top < frame.top - room || box.bottom > frame.bottom + room) {
          faults.push(`${name(item)} leaves its picture by ` + [frame.left - box.left, box.right - frame.right,
            frame.top - box.top, box.bottom - frame.bottom].map((d) => d.toFixed(1)).join(", "));
        }
      }
      const style = getComputedStyle(item);
      if (!svg && style.overflowX !== "visible" && item.scrollWidth > item.clientWidth + 1) {
        faults.push(`${name(item)} hides ${item.scrollWidth - item.clientWidth} px`);
      }
    }
    return faults;
  },

  sideways() {
    const page = document.documentElement;
    const over = Math.max(page.scrollWidth, document.body.scrollWidth) - page.clientWidth;
    return over > 0 ? [`the page is ${over} px too wide`] : [];
  },

  structure() {
    const faults = [];
    const all = (selector) => [...document.querySelectorAll(selector)];
    if (all("h1").length !== 1) { faults.push(`${all("h1").length} h1`); }
    if (all("main").length !== 1) { faults.push(`${all("main").length} main`); }
    if (!/^[a-z]{2,3}(-|$)/.test(document.documentElement.lang)) { faults.push("no lang"); }
    if (document.title.trim().length < 5) { faults.push("no title"); }
    let before = 0;
    for (const heading of all("h1, h2, h3, h4, h5, h6")) {
      const level = Number(heading.tagName[1]);
      if (level > before + 1) { faults.push(`h${level} after h${before}: ${heading.textContent}`); }
      if (!heading.textContent.trim()) { faults.push(`an empty h${level}`); }
      before = level;
    }
    const ids = all("[id]").map((item) => item.id);
    ids.filter((id, place) => ids.indexOf(id) !== place).forEach((id) => faults.push(`two of the id ${id}`));
    for (const link of all('a[href^="#"]')) {
      const target = decodeURIComponent(link.getAttribute("href").slice(1));
      if (!document.getElementById(target)) { faults.push(`a link to nothing: ${target}`); }
    }
    return faults;
  },

  tables() {
    const faults = [];
    for (const table of document.querySelectorAll("table")) {
      const caption = table.caption ? table.caption.textContent.trim() : "";
      if (caption.length < 5) { faults.push(`a table without a caption: ${table.textContent.slice(0, 50)}`); }
      if (!table.querySelector("thead th[scope=col]")) { faults.push(`no column heads: ${caption}`); }
      for (const head of table.querySelectorAll("th")) {
        if (!["row", "col", "rowgroup", "colgroup"].includes(head.scope)) {
          faults.push(`an unscoped head in ${caption}: ${head.textContent}`);
        }
        if (!head.textContent.trim()) { faults.push(`an empty head in ${caption}`); }
      }
      for (const row of table.tBodies.length ? table.tBodies[0].rows : []) {
        if (!row.querySelector("th[scope=row]")) { faults.push(`a row without a head in ${caption}`); }
      }
    }
    return faults;
  },

  alternatives() {
    const words = (item) => (item.getAttribute("aria-labelledby") || "").split(/\s+/).filter(Boolean)
      .map((id) => (document.getElementById(id) || {textContent: ""}).textContent).join(" ");
    return [...document.querySelectorAll("img, svg:not([aria-hidden=true])")].map((item) =>
      (item.getAttribute("alt") || item.getAttribute("aria-label") || words(item)).trim());
  },

  unreachable() {
    const faults = [];
    for (const item of document.querySelectorAll("body *")) {
      const style = getComputedStyle(item);
      const scrolls = ["auto", "scroll"].includes(style.overflowX) && item.scrollWidth > item.clientWidth + 1;
      if (!scrolls) { continue; }
      const named = item.getAttribute("aria-label") || item.getAttribute("aria-labelledby");
      if (item.tabIndex < 0 || !named) {
        faults.push(`${item.tagName} scrolls, tabindex ${item.tabIndex}, name ${named}`);
      }
    }
    return faults;
  },

  active() {
    const faults = [];
    for (const item of document.querySelectorAll("*")) {
      for (const {name, value} of item.attributes) {
        const bare = value.replace(/[\u0000-\u0020\u00a0\u200b-\u200f\ufeff]/g, "").toLowerCase();
        if (name.toLowerCase().startsWith("on")) { faults.push(`${name} on ${item.tagName}`); }
        if (/^(javascript|vbscript|data:text)/.test(bare)) { faults.push(`${name} runs on ${item.tagName}`); }
        if (name === "srcdoc") { faults.push(`srcdoc on ${item.tagName}`); }
      }
    }
    const kinds = "iframe, frame, object, embed, base, form, portal, foreignObject, animate, set, meta[http-equiv=refresh]";
    document.querySelectorAll(kinds).forEach((item) => faults.push(`a ${item.tagName}`));
    document.querySelectorAll("script").forEach((item) => faults.push(`script: ${item.textContent.slice(0, 30)}`));
    return faults;
  },
})
