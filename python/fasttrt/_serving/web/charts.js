// Charts as SVG.

const HEIGHT = 118;
const LEFT = 38;
const BOTTOM = 18;
const TOP = 8;

function svg(name, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// 1, 2 or 5 times a power of ten, not below a value.
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((digit) => digit * power).find((round) => round >= value * 0.999999);
}

function significant(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0 || value >= 100) return Math.round(value).toLocaleString("en");
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

// A scale from 0 to a round number.
function linear(top) {
  const name = (value) => String(Number(value.toPrecision(3)));
  return { share: (value) => value / top, marks: [0, 0.5, 1].map((share) => [share, name(top * share)]) };
}

// A scale of whole decades that has these values, so that all of them can be told apart.
function logarithmic(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)].map((value) => Math.log10(value || 0.01));
  const [first, last] = [Math.floor(low), Math.max(Math.ceil(high), Math.floor(low) + 1)];
  const marks = [];
  for (let power = first; power <= last; ++power) {
    marks.push([(power - first) / (last - first), String(Number((10 ** power).toPrecision(1)))]);
  }
  return { share: (value) => (Math.log10(value || 0.01) - first) / (last - first), marks };
}

const toY = (share) => HEIGHT - BOTTOM - Math.min(Math.max(share, 0), 1) * (HEIGHT - BOTTOM - TOP);

function frame(width, label, scale) {
  const root = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label });
  for (const [share, text] of scale.marks) {
    const y = toY(share);
    root.append(svg("line", { class: "grid", x1: LEFT, x2: width, y1: y, y2: y }));
    root.append(svg("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, text));
  }
  return root;
}

// The time that a chart shows: that of its points, in whole minutes.
function spanOf(points, now) {
  const minutes = points.length ? (now - points[0][0]) / 60 : 0;
  return 60 * ([1, 2, 3].find((whole) => minutes <= whole) ?? CHART_SECONDS / 60);
}

// Lines over the last minutes; null is a gap. They are filled where `fills`.
function lineChart(points, classes, { width, label, now, scaleOf, fills = false }) {
  const values = points.flatMap(([, ...rest]) => rest.filter((value) => value !== null));
  const scale = scaleOf(values);
  const root = frame(width, label, scale);
  const span = spanOf(points, now);
  const x = (time) => LEFT + (1 - (now - time) / span) * (width - LEFT);
  const y = (value) => toY(scale.share(value));
  classes.forEach((name, index) => {
    let path = "";
    let isDrawing = false;
    const places = [];
    for (const [time, ...rest] of points) {
      const value = rest[index];
      if (value !== null) places.push(x(time).toFixed(1));
      if (value !== null) path += `${isDrawing ? "L" : "M"}${x(time).toFixed(1)} ${y(value).toFixed(1)}`;
      isDrawing = value !== null;
    }
    if (fills && path) {
      const area = `${path}L${places.at(-1)} ${y(0)}L${places[0]} ${y(0)}Z`;
      root.append(svg("path", { class: "area", d: area }));
    }
    root.append(svg("path", { class: `line ${name}`, d: path }));
  });
  root.append(svg("text", { x: LEFT, y: HEIGHT - 3 }, `${span / 60} min ago`));
  root.append(svg("text", { x: width, y: HEIGHT - 3, "text-anchor": "end" }, "now"));
  return root;
}

// Shares of the runs by their sizes, in powers of two.
function sizeChart(sizes, { width, label }) {
  const counts = new Map();
  for (const [size, runs] of sizes) {
    const key = Math.ceil(Math.log2(Math.max(size, 1)));
    counts.set(key, (counts.get(key) ?? 0) + runs);
  }
  const root = frame(width, label, linear(100));
  if (counts.size === 0) return root;
  const total = [...counts.values()].reduce((sum, runs) => sum + runs, 0);
  const first = Math.min(...counts.keys());
  const columns = Math.max(...counts.keys()) - first + 1;
  const step = Math.min((width - LEFT) / columns, 64);
  for (let column = 0; column < columns; ++column) {
    const high = 2 ** (first + column);
    const low = Math.floor(high / 2) + 1;
    const share = (counts.get(first + column) ?? 0) / total;
    const height = share * (HEIGHT - BOTTOM - TOP);
    const left = LEFT + column * step;
    const bar = { class: "bar", x: left + step * 0.15, y: HEIGHT - BOTTOM - height, rx: 2 };
    root.append(svg("rect", { ...bar, width: step * 0.7, height }));
    const place = { x: left + step / 2, y: HEIGHT - 3, "text-anchor": "middle" };
    const name = low < high ? (step < 38 ? `≤${high}` : `${low}–${high}`) : String(high);
    root.append(svg("text", place, name));
  }
  return root;
}
