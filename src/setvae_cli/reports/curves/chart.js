"use strict";
(() => {
  const EDGE = { left: 58, right: 14, top: 32, bottom: 40 };
  const LOG_RATIO = 200, LEAST_SPAN = 0.05, CLICK = 6, NARROWEST = 1e-4;
  const root = document.getElementById("chart");
  const data = JSON.parse(document.getElementById("chart-data").textContent);
  const part = (name) => root.querySelector("." + name);
  const choice = part("choice"), filter = part("filter"), told = part("told"), box = part("plot");
  const SVG = box.namespaceURI, hidden = new Set();
  let group = data.groups[0], range = null, cursor = null, pressed = null, view = null;

  const make = (name, attributes, parent) => {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (parent) parent.append(node);
    return node;
  };
  const text = (words, attributes, parent) => {
    const node = make("text", attributes, parent);
    node.textContent = words;
    return node;
  };
  const spaced = (number) => String(Math.round(number)).replace(/\B(?=(\d{3})+(?!\d))/g, " ");
  const short = (value) => {
    const size = Math.abs(value);
    if (value !== 0 && (size < 1e-4 || size >= 1e6)) return value.toExponential(2);
    return size >= 1000 ? spaced(value) : String(Number(value.toPrecision(4)));
  };
  const seen = () => group.curves.filter((curve) => !hidden.has(curve.name));
  const whole = () => {
    const last = Math.max(1, ...group.curves.map((curve) => curve.x[curve.x.length - 1]));
    return [0, last * 1.02];
  };
  const nearest = (curve, step) => {
    let low = 0, high = curve.x.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (curve.x[middle] < step) low = middle + 1; else high = middle;
    }
    return low > 0 && step - curve.x[low - 1] < curve.x[low] - step ? low - 1 : low;
  };
  const ticks = (low, high, most) => {
    const raw = (high - low) / most, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((times) => times * power).find((each) => each >= raw);
    const found = [];
    for (let k = Math.ceil(low / step); k * step <= high + 1e-9 * step; k++) found.push(k * step);
    return found;
  };
  const powers = (low, high) => {
    const found = [];
    for (let k = Math.ceil(Math.log10(low)); 10 ** k <= high; k++) found.push(10 ** k);
    return found.length > 1 ? found : ticks(low, high, 5).filter((each) => each > 0);
  };
  const heights = (curves, [from, to]) => {
    const values = [];
    for (const { x, y } of curves) {
      for (let i = 0; i < x.length; i++) if (x[i] >= from && x[i] <= to) values.push(y[i]);
    }
    if (!values.length) return { low: 0, high: 1, log: false };
    let low = Math.min(...values), high = Math.max(...values);
    const log = low > 0 && high > LOG_RATIO * low;
    if (log) return { low: low / 1.2, high: high * 1.2, log };
    const room = Math.max(0.06 * (high - low), (LEAST_SPAN * Math.abs(high)) / 2, 1e-9);
    return { low: low >= 0 ? Math.max(0, low - room) : low - room, high: high + room, log };
  };

  function draw() {
    const width = box.clientWidth, height = width < 600 ? 270 : 360;
    if (width <= EDGE.left + EDGE.right) { // not laid out yet
      requestAnimationFrame(draw);
      return;
    }
    const [from, to] = range || whole(), { low, high, log } = heights(seen(), [from, to]);
    const wide = width - EDGE.left - EDGE.right, tall = height - EDGE.top - EDGE.bottom;
    const flat = log ? Math.log : (value) => value;
    const x = (step) => EDGE.left + (wide * (step - from)) / (to - from);
    const y = (value) =>
      EDGE.top + tall - (tall * (flat(value) - flat(low))) / (flat(high) - flat(low));
    const step = (pixel) => from + ((to - from) * (pixel - EDGE.left)) / wide;
    view = { x, y, step, from, to, width, height, wide, tall };
    box.replaceChildren();
    box.setAttribute("viewBox", `0 0 ${width} ${height}`);
    box.setAttribute("height", height);
    const clip = make("clipPath", { id: "inside" }, make("defs", {}, box));
    make("rect", { x: EDGE.left, y: EDGE.top, width: wide, height: tall }, clip);
    for (const value of log ? powers(low, high) : ticks(low, high, 5)) {
      make("line", { class: "grid", x1: EDGE.left, x2: EDGE.left + wide, y1: y(value), y2: y(value) }, box);
      text(short(value), { class: "tick", x: EDGE.left - 6, y: y(value) + 4, "text-anchor": "end" }, box);
    }
    for (const value of ticks(from, to, width < 600 ? 4 : 8)) {
      make("line", { class: "grid", x1: x(value), x2: x(value), y1: EDGE.top, y2: EDGE.top + tall }, box);
      text(short(value), { class: "tick", x: x(value), y: EDGE.top + tall + 15, "text-anchor": "middle" }, box);
    }
    const unit = group.unit + (log ? ", logarithmic" : "");
    text(unit, { class: "tick", x: 2, y: 12 }, box);
    text("optimizer step", { class: "tick", x: EDGE.left + wide, y: height - 6, "text-anchor": "end" }, box);
    for (const mark of data.marks) {
      if (mark.step < from || mark.step > to) continue;
      make("line", { class: "mark", x1: x(mark.step), x2: x(mark.step), y1: EDGE.top, y2: EDGE.top + tall }, box);
      text(mark.letter, { class: "letter", x: x(mark.step), y: EDGE.top - 3, "text-anchor": "middle" }, box);
    }
    const lines = make("g", { "clip-path": "url(#inside)" }, box);
    for (const curve of seen()) {
      const points = curve.x.map((value, i) => `${x(value).toFixed(1)},${y(curve.y[i]).toFixed(1)}`);
      make("polyline", {
        class: "curve", points: points.join(" "), stroke: curve.colour,
        "stroke-dasharray": curve.dash, "stroke-opacity": curve.faint ? 0.5 : 1,
        "stroke-width": curve.faint ? 1.2 : 2,
      }, lines);
      if (curve.x.length < 2) {
        make("circle", { cx: x(curve.x[0]), cy: y(curve.y[0]), r: 3.5, fill: curve.colour }, lines);
      }
    }
    point();
  }

  function point() {
    for (const node of box.querySelectorAll(".cursor, .chosen")) node.remove();
    if (pressed && pressed.moved) {
      const [left, right] = [pressed.from, pressed.to].sort((a, b) => a - b);
      make("rect", { class: "chosen", x: left, y: EDGE.top, width: right - left, height: view.tall }, box);
    }
    told.replaceChildren();
    if (cursor === null) {
      told.textContent = "Point at the chart for values.";
      return;
    }
    const at = view.x(cursor);
    make("line", { class: "cursor", x1: at, x2: at, y1: EDGE.top, y2: EDGE.top + view.tall }, box);
    const entry = (words, curve) => {
      const item = document.createElement("li");
      if (curve) item.append(sample(curve));
      item.append(words);
      told.append(item);
    };
    entry(`step ${spaced(cursor)}`);
    for (const curve of seen()) {
      const i = nearest(curve, cursor), step = curve.x[i];
      const where = Math.round(step) === Math.round(cursor) ? "" : ` (at ${spaced(step)})`;
      entry(`${curve.name}: ${short(curve.y[i])}${where}`, curve);
      if (step >= view.from && step <= view.to) {
        make("circle", { class: "cursor", cx: view.x(step), cy: view.y(curve.y[i]), r: 4, fill: curve.colour }, box);
      }
    }
    for (const mark of data.marks) {
      if (Math.abs(view.x(mark.step) - at) < CLICK) entry(`${mark.letter}: ${mark.words}, step ${spaced(mark.step)}`);
    }
  }

  function sample(curve) {
    const svg = make("svg", { width: 30, height: 10, "aria-hidden": "true" });
    make("line", {
      x1: 0, x2: 28, y1: 5, y2: 5, stroke: curve.colour, "stroke-width": 2.5,
      "stroke-dasharray": curve.dash, "stroke-opacity": curve.faint ? 0.5 : 1,
    }, svg);
    return svg;
  }

  function list() {
    filter.querySelectorAll("label").forEach((node) => node.remove());
    for (const curve of group.curves) {
      const label = document.createElement("label"), tick = document.createElement("input");
      tick.type = "checkbox";
      tick.checked = !hidden.has(curve.name);
      tick.addEventListener("change", () => {
        if (tick.checked) hidden.delete(curve.name); else hidden.add(curve.name);
        draw();
      });
      label.append(tick, sample(curve), curve.name);
      filter.append(label);
    }
  }

  function zoom(factor, around) {
    const [first, last] = whole(), [from, to] = range || [first, last];
    const middle = around === undefined ? (cursor === null ? (from + to) / 2 : cursor) : around;
    const span = Math.min(last - first, Math.max((to - from) * factor, NARROWEST * (last - first), 1));
    const share = (middle - from) / (to - from);
    const left = Math.min(Math.max(first, middle - share * span), last - span);
    range = span >= last - first ? null : [left, left + span];
    draw();
  }

  function clear() {
    range = null;
    draw();
  }

  function move(share) {
    const [from, to] = range || whole();
    const next = (cursor === null ? (from + to) / 2 : cursor) + share * (to - from);
    cursor = Math.min(Math.max(next, from), to);
    point();
  }

  const pixel = (event) => {
    const at = event.clientX - box.getBoundingClientRect().left;
    return Math.min(Math.max(at, EDGE.left), EDGE.left + view.wide);
  };
  box.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    pressed = { from: pixel(event), to: pixel(event), moved: false };
    box.setPointerCapture(event.pointerId);
    cursor = view.step(pressed.from);
    point();
  });
  box.addEventListener("pointermove", (event) => {
    const at = pixel(event);
    cursor = view.step(at);
    if (pressed) {
      pressed.to = at;
      pressed.moved = pressed.moved || Math.abs(at - pressed.from) > CLICK;
    }
    point();
  });
  box.addEventListener("pointerup", () => {
    const done = pressed;
    pressed = null;
    if (done && done.moved) {
      const [left, right] = [view.step(done.from), view.step(done.to)].sort((a, b) => a - b);
      if (right - left >= 1) range = [left, right];
    }
    draw();
  });
  box.addEventListener("pointercancel", () => {
    pressed = null;
    point();
  });
  box.addEventListener("pointerleave", (event) => {
    if (pressed || event.pointerType !== "mouse") return;
    cursor = null;
    point();
  });
  box.addEventListener("dblclick", clear);
  box.addEventListener("wheel", (event) => {
    if (document.activeElement !== box && !event.ctrlKey) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 0.8 : 1.25, view.step(pixel(event)));
  }, { passive: false });
  const keys = {
    ArrowLeft: () => move(-0.02), ArrowRight: () => move(0.02),
    "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: clear, Escape: clear,
  };
  box.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  part("in").addEventListener("click", () => zoom(0.5));
  part("out").addEventListener("click", () => zoom(2));
  part("all").addEventListener("click", clear);
  data.groups.forEach((each, number) => choice.append(new Option(each.name, number)));
  choice.addEventListener("change", () => {
    group = data.groups[choice.value];
    cursor = null;
    list();
    draw();
  });
  root.hidden = false;
  list();
  draw();
  addEventListener("resize", draw);
})();
