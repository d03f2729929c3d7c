// The scatter of latents: zoom, drag, look at a point, filter. Reads #latent-data, asks for nothing.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("latent-data").textContent);
  const unpack = (text, Kind) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new Kind(bytes.buffer);
  };
  const at = (name) => document.getElementById(`latent-${name}`);
  const canvas = at("canvas"), context = canvas.getContext("2d"), tip = at("tip");
  const row = unpack(data.row, Int32Array), place = unpack(data.set, Int32Array);
  const label = unpack(data.label, Int32Array), hours = unpack(data.hours, Float32Array);
  const classes = new Map(data.classes.map(([value, word, colour]) => [value, { word, colour }]));
  const scales = data.scales.map((one) => ({ ...one, bin: unpack(one.bin, Uint8Array) }));
  const maps = data.maps.map((one) => ({
    ...one,
    xy: unpack(one.xy, Float32Array),
    of: unpack(one.of, Int32Array),
    history: unpack(one.history, Uint8Array),
  }));
  const UNKNOWN = "#8a8a8a", LEAST = 0.2, MOST = 400, REACH = 14;
  let map = maps[0], shown = new Int32Array(0), sprites = [], waiting = false, pointed = -1;
  let frame = context.createImageData(1, 1);
  let wide = 1, high = 1, scale = 1, left = 0, top = 0, fitted = 1;

  const screenX = (point) => (map.xy[2 * point] - left) * scale;
  const screenY = (point) => high - (map.xy[2 * point + 1] - top) * scale;

  // What is drawn for each point: its colour, and a disc for z or a ring for h.
  const painter = () => {
    const chosen = at("colour").value;
    if (chosen === "kind") {
      return { colours: [data.pens.z, data.pens.h], of: (point) => map.history[point] };
    }
    if (chosen === "label") {
      const values = [...classes.keys()];
      const number = new Map(values.map((value, index) => [value, index]));
      const colours = values.map((value) => classes.get(value).colour);
      return { colours, of: (point) => number.get(label[map.of[point]]) };
    }
    const by = scales[Number(chosen)], steps = by.colours.length;
    return {
      colours: [...by.colours, UNKNOWN],
      of: (point) => Math.min(steps, by.bin[map.of[point]]),
    };
  };

  // A mark as the pixels that it covers: thousands are blended in less time than drawImage takes.
  const sprite = (colour, ring, size) => {
    const made = document.createElement("canvas");
    made.width = made.height = size;
    const pen = made.getContext("2d"), line = Math.max(1, size / 6), radius = size / 2 - 1;
    pen.beginPath();
    pen.arc(size / 2, size / 2, ring ? radius - line / 2 : radius, 0, 7);
    pen.fillStyle = pen.strokeStyle = colour;
    pen.lineWidth = line;
    if (ring) pen.stroke();
    else pen.fill();
    const held = pen.getImageData(0, 0, size, size).data, covered = [];
    for (let pixel = 0; pixel < size * size; pixel++) {
      if (held[4 * pixel + 3] > 0) covered.push(pixel);
    }
    const [red, green, blue] = [1, 3, 5].map((from) => parseInt(colour.slice(from, from + 2), 16));
    return {
      x: Int32Array.from(covered, (pixel) => pixel % size),
      y: Int32Array.from(covered, (pixel) => Math.floor(pixel / size)),
      alpha: Float32Array.from(covered, (pixel) => (0.85 * held[4 * pixel + 3]) / 255),
      size, red, green, blue,
    };
  };
  const stamp = (made, left, top) => {
    const bytes = frame.data, across = frame.width;
    if (left < 0 || top < 0 || left + made.size > across || top + made.size > frame.height) return;
    for (let one = 0; one < made.alpha.length; one++) {
      const to = 4 * ((top + made.y[one]) * across + left + made.x[one]), alpha = made.alpha[one];
      bytes[to] += alpha * (made.red - bytes[to]);
      bytes[to + 1] += alpha * (made.green - bytes[to + 1]);
      bytes[to + 2] += alpha * (made.blue - bytes[to + 2]);
    }
  };

  let paint = null;
  const repaint = () => {
    paint = painter();
    const ratio = window.devicePixelRatio || 1;
    const size = Math.round((shown.length > 3000 ? 6 : 8) * ratio);
    sprites = [false, true].map((ring) => paint.colours.map((one) => sprite(one, ring, size)));
  };

  const draw = () => {
    waiting = false;
    const ratio = window.devicePixelRatio || 1;
    frame.data.fill(255);
    for (const point of shown) {
      const made = sprites[map.history[point]][paint.of(point)];
      const half = made.size / 2;
      const x = Math.round(screenX(point) * ratio - half);
      stamp(made, x, Math.round(screenY(point) * ratio - half));
    }
    context.putImageData(frame, 0, 0);
    if (pointed >= 0) {
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.lineWidth = 2;
      context.strokeStyle = "#1d2733";
      context.beginPath();
      context.arc(screenX(pointed), screenY(pointed), 8, 0, 7);
      const other = partner(pointed);
      if (other >= 0) {
        context.moveTo(screenX(pointed), screenY(pointed));
        context.lineTo(screenX(other), screenY(other));
      }
      context.stroke();
    }
    canvas.dataset.zoom = (scale / fitted).toFixed(3);
  };
  const redraw = () => {
    if (!waiting) requestAnimationFrame(draw);
    waiting = true;
  };

  // The other one of z and h of the same set, which lies beside it in the list.
  const partner = (point) => {
    if (!map.both) return -1;
    return map.of[point + 1] === map.of[point] ? point + 1 : point - 1;
  };

  const fit = () => {
    let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const point of shown) {
      const x = map.xy[2 * point], y = map.xy[2 * point + 1];
      [x0, x1] = [Math.min(x0, x), Math.max(x1, x)];
      [y0, y1] = [Math.min(y0, y), Math.max(y1, y)];
    }
    if (!(x1 >= x0)) [x0, x1, y0, y1] = [-1, 1, -1, 1];
    const spanX = Math.max(x1 - x0, 1e-6), spanY = Math.max(y1 - y0, 1e-6);
    scale = Math.min((wide - 40) / spanX, (high - 40) / spanY);
    if (x1 === x0 && y1 === y0) scale = 1;
    left = (x0 + x1) / 2 - wide / (2 * scale);
    top = (y0 + y1) / 2 - high / (2 * scale);
    fitted = scale;
    redraw();
  };

  const zoom = (factor, x = wide / 2, y = high / 2) => {
    const next = Math.max(LEAST * fitted, Math.min(MOST * fitted, scale * factor));
    left += x / scale - x / next;
    top += (high - y) / scale - (high - y) / next;
    scale = next;
    redraw();
  };
  const pan = (x, y) => {
    left -= x / scale;
    top += y / scale;
    redraw();
  };

  const number = (name, otherwise) => {
    const text = at(name).value.trim();
    return text === "" || Number.isNaN(Number(text)) ? otherwise : Number(text);
  };
  const filter = () => {
    const wanted = at("label").value, only = number("row", null);
    const from = number("from", -Infinity), to = number("to", Infinity);
    const timed = from > -Infinity || to < Infinity;
    const kinds = [at("z").checked, at("h").checked];
    shown = Int32Array.from(map.of.keys()).filter((point) => {
      const set = map.of[point], time = hours[set];
      if (map.both && !kinds[map.history[point]]) return false;
      if (wanted !== "all" && label[set] !== Number(wanted)) return false;
      if (only !== null && row[set] !== only) return false;
      return !timed || (time >= from && time <= to);
    });
    const spaced = (count) => String(count).replace(/\B(?=(\d{3})+$)/g, " ");
    at("count").textContent = `${spaced(shown.length)} of ${spaced(map.of.length)} points shown`;
    canvas.dataset.shown = shown.length;
    point(-1);
    repaint();
    redraw();
  };

  const legend = () => {
    const chosen = at("colour").value, box = at("legend");
    const item = (colour, word, ring) => {
      const made = document.createElement("span"), mark = document.createElement("i");
      mark.className = ring ? "ring" : "disc";
      mark.style.color = colour;
      made.append(mark, word);
      return made;
    };
    const note = (words) => {
      const made = document.createElement("span");
      made.append(words);
      return made;
    };
    box.replaceChildren();
    if (chosen === "kind") {
      box.append(item(data.pens.z, "z", false));
      if (map.both) box.append(item(data.pens.h, "h", true));
    } else if (chosen === "label") {
      for (const one of classes.values()) box.append(item(one.colour, `${data.task} ${one.word}`));
    } else {
      const by = scales[Number(chosen)];
      for (const [index, colour] of by.colours.entries()) {
        const swatch = document.createElement("b");
        swatch.style.background = colour;
        box.append(String(by.edges[index]), swatch);
      }
      box.append(note(String(by.edges[by.colours.length])));
      if (by.bin.includes(255)) box.append(item(UNKNOWN, "unknown"));
      box.append(note("each colour: as many sets"));
    }
    if (chosen !== "kind" && map.both) box.append(note("disc: z, ring: h"));
  };

  const nearest = (x, y, reach) => {
    let found = -1, least = reach * reach;
    for (const one of shown) {
      const far = (screenX(one) - x) ** 2 + (screenY(one) - y) ** 2;
      if (far <= least) [found, least] = [one, far];
    }
    return found;
  };
  const words = (one) => {
    const set = map.of[one];
    const known = classes.get(label[set]);
    return [
      `row ${row[set]}, set ${place[set] + 1}, ${map.history[one] ? "h" : "z"}`,
      `${data.task}: ${label[set] < 0 || !known ? "unknown" : known.word}`,
    ];
  };
  const point = (one) => {
    if (one === pointed && one >= 0) return;
    pointed = one;
    tip.hidden = one < 0;
    if (one >= 0) {
      tip.replaceChildren(
        ...words(one).map((text) => {
          const line = document.createElement("div");
          line.textContent = text;
          return line;
        }),
      );
      const x = screenX(one), y = screenY(one), room = tip.offsetWidth;
      tip.style.left = `${Math.max(0, Math.min(wide - room, x > wide / 2 ? x - room - 14 : x + 14))}px`;
      tip.style.top = `${Math.max(0, Math.min(high - tip.offsetHeight, y + 10))}px`;
    }
    redraw();
  };

  // Pointers: one drags or looks, two pinch.
  const held = new Map();
  const where = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const spread = () => {
    const [[x0, y0], [x1, y1]] = [...held.values()];
    return [Math.hypot(x1 - x0, y1 - y0) || 1, (x0 + x1) / 2, (y0 + y1) / 2];
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, where(event));
    if (event.pointerType !== "mouse") point(nearest(...where(event), 2 * REACH));
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = where(event), before = held.get(event.pointerId);
    if (!before) return point(nearest(...now, REACH));
    if (held.size === 2) {
      const [far, x, y] = spread();
      held.set(event.pointerId, now);
      const [next, nextX, nextY] = spread();
      pan(nextX - x, nextY - y);
      zoom(next / far, nextX, nextY);
    } else {
      held.set(event.pointerId, now);
      pan(now[0] - before[0], now[1] - before[1]);
    }
    if (Math.hypot(now[0] - before[0], now[1] - before[1]) > 2) point(-1);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => held.delete(event.pointerId));
  }
  canvas.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse") point(-1);
  });
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      point(-1);
      const lines = event.deltaMode === 1 ? 16 : 1;
      zoom(Math.exp(-event.deltaY * lines * 0.002), ...where(event));
    },
    { passive: false },
  );

  // Keys move the map; what lies nearest to its middle is read out.
  const moves = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
  const zooms = { "+": 1.5, "=": 1.5, "-": 1 / 1.5 };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in moves) pan(...moves[event.key]);
    else if (event.key in zooms) zoom(zooms[event.key]);
    else if (event.key === "0") fit();
    else if (event.key === "Escape") return point(-1);
    else return;
    event.preventDefault();
    pointed = -1;
    point(nearest(wide / 2, high / 2, Math.max(wide, high)));
  });

  const choose = () => {
    map = maps[Number(at("map").value)];
    at("kinds").hidden = !map.both;
    filter();
    legend();
    fit();
  };
  const resize = () => {
    const box = canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
    [wide, high] = [box.width, box.height];
    canvas.width = Math.max(1, Math.round(wide * ratio));
    canvas.height = Math.max(1, Math.round(high * ratio));
    frame = context.createImageData(canvas.width, canvas.height);
    repaint();
    fit();
  };
  const offer = (name, options) => {
    for (const [value, word] of options) at(name).add(new Option(word, value));
  };
  offer("map", maps.map((one, index) => [index, one.name]));
  offer("colour", [
    ["kind", "z and h"],
    ["label", data.task],
    ...scales.map((one, index) => [index, one.name]),
  ]);
  offer("label", [["all", "all"], ...[...classes].map(([value, { word }]) => [value, word])]);
  at("map").addEventListener("change", choose);
  at("colour").addEventListener("change", () => {
    repaint();
    legend();
    redraw();
  });
  for (const name of ["label", "z", "h", "from", "to", "row"]) {
    at(name).addEventListener("input", filter);
  }
  at("in").addEventListener("click", () => zoom(1.5));
  at("out").addEventListener("click", () => zoom(1 / 1.5));
  at("fit").addEventListener("click", fit);
  at("clear").addEventListener("click", () => {
    at("label").value = "all";
    for (const name of ["from", "to", "row"]) at(name).value = "";
    at("z").checked = at("h").checked = true;
    filter();
    fit();
  });
  at("scatter").hidden = false;
  new ResizeObserver(resize).observe(canvas);
  filter();
  resize();
  legend();
})();
