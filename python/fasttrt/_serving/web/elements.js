// Elements, and numbers as text. Text only ever becomes text.

function make(name, className, ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function duration(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  let left = Math.floor(seconds);
  const named = [];
  for (const [size, unit] of parts) {
    if (left >= size) named.push(`${Math.floor(left / size)} ${unit}`);
    left %= size;
  }
  return named.slice(0, 2).join(" ") || "0 s";
}

function bytes(size) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let index = 0;
  while (size >= 1000 && index < units.length - 1) { size /= 1000; ++index; }
  return `${index ? size.toFixed(1) : size} ${units[index]}`;
}

function facts(list, entries) {
  while (list.children.length > entries.length) list.lastChild.remove();
  entries.forEach(([title, value], index) => {
    const pair = list.children[index] ?? list.appendChild(make("div", "", make("dt"), make("dd")));
    setText(pair.firstChild, title);
    setText(pair.lastChild, value);
  });
}

function figure(caption, key = "") {
  const element = make("figure", "", make("figcaption"));
  element.firstChild.append(...caption.map((text, i) => {
    const span = make("span", i && key ? `key ${key.split(" ")[i - 1]}` : "", text);
    return span;
  }));
  return element;
}

function draw(element, chart) {
  const width = Math.max(element.clientWidth, 160);
  element.querySelector("svg")?.remove();
  element.append(chart(width));
}
