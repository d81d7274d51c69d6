"use strict";
(() => {
  const names = ["quarter", "team", "report", "status"];
  const find = (id) => document.getElementById(id);
  const cards = Array.from(document.querySelectorAll("article.card"));
  const texts = cards.map((card) => card.textContent.toLowerCase());

  const show = () => {
    const wanted = find("q").value.trim().toLowerCase();
    let shown = 0;
    cards.forEach((card, position) => {
      const fits = names.every((name) => !find(name).value || card.dataset[name] === find(name).value);
      card.hidden = !(fits && texts[position].includes(wanted));
      shown += card.hidden ? 0 : 1;
    });
    document.querySelectorAll("section.quarter").forEach((section) => {
      section.hidden = !section.querySelector("article.card:not([hidden])");
    });
    find("count").textContent = `${find("count").dataset.shown} ${shown} / ${cards.length}`;
  };

  const read = () => {
    const asked = new URLSearchParams(location.hash.slice(1));
    if (location.hash && !["q", ...names].some((name) => asked.has(name))) {
      return;
    }
    ["q", ...names].forEach((name) => { find(name).value = asked.get(name) || ""; });
    names.forEach((name) => { if (find(name).selectedIndex < 0) { find(name).value = ""; } });
    show();
  };

  const write = () => {
    const asked = new URLSearchParams();
    ["q", ...names].forEach((name) => { if (find(name).value) { asked.set(name, find(name).value); } });
    try {
      history.replaceState(null, "", `#${asked}`);
    } catch {
      location.hash = asked.toString();
    }
    show();
  };

  ["q", ...names].forEach((name) => find(name).addEventListener("input", write));
  find("clear").addEventListener("click", () => {
    ["q", ...names].forEach((name) => { find(name).value = ""; });
    write();
  });
  addEventListener("hashchange", read);
  find("filters").hidden = false;
  show();
  read();
})();
