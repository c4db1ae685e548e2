// The network as a picture. A node is a disc: its left half shows what came forward,
// z or a, its right half what came back, delta. Dashed is negative, on lines and discs.

// `onOpen` is called with what has been clicked, or opened with Enter.
function makeDrawing(place, onOpen) {
  const layout = layOut(place.clientWidth);
  const lines = range(LAST).map((i) => linesInto(i + 1, layout));
  const nodes = range(LAST + 1).map((layer) => nodesOf(layer, layout));
  const picture = svg(
    "svg",
    {
      width: layout.width,
      height: layout.height,
      viewBox: `0 0 ${layout.width} ${layout.height}`,
      role: "application",
      "aria-label":
        "The network. Arrow keys go from node to weight to node, Enter opens one.",
    },
    ...lines.map((layer) => layer.group),
    ...nodes.map((layer) => layer.group),
    svg("g", { class: "heads" }, ...range(LAST + 1).flatMap((l) => headOf(l, layout))),
  );
  // Who listened on the picture to where the focus is would make it take the focus.
  const frame = html("div", {}, picture);
  place.replaceChildren(frame);
  const parts = partsOf(lines, nodes);
  const drawing = { place, frame, picture, layout, lines, nodes, parts };
  followPointer(drawing, onOpen);
  followKeys(drawing, onOpen);
  return drawing;
}

// Element -> the part of the network that it shows: {layer, i} or {layer, k, j}.
function partsOf(lines, nodes) {
  const parts = new Map();
  nodes.forEach(({ items }, layer) => {
    items.forEach((item, i) => parts.set(item, { layer, i }));
  });
  lines.forEach(({ items }, below) => {
    const layer = below + 1;
    items.forEach((row, k) =>
      row.forEach((item, j) => parts.set(item, { layer, k, j })),
    );
  });
  return parts;
}

function linesInto(layer, layout) {
  const from = layout.layers[layer - 1];
  const to = layout.layers[layer];
  const isDense = nodesDrawn(layer - 1) * nodesDrawn(layer) > 120;
  const kind = isDense ? "weights dense" : "weights";
  const group = svg("g", { class: kind, "data-layer": layer });
  const items = range(nodesDrawn(layer - 1)).map((k) =>
    range(nodesDrawn(layer)).map((j) =>
      svg("line", {
        x1: from.x,
        y1: from.ys[k],
        x2: to.x,
        y2: to.ys[j],
        tabindex: "-1",
        role: "button",
        "aria-label": weightName({ layer, k, j }),
      }),
    ),
  );
  group.append(...items.flat());
  return { group, items };
}

function nodesOf(layer, layout) {
  const { x, ys, radius, hasNumbers } = layout.layers[layer];
  const items = range(nodesDrawn(layer)).map((i) =>
    svg(
      "g",
      {
        class: "node",
        transform: `translate(${x} ${ys[i]})`,
        tabindex: "-1",
        role: "button",
      },
      svg("circle", { class: "ring", r: radius + 4 }),
      svg("circle", { class: "disc", r: radius }),
      ...halvesOf(layer, radius),
      ...labelOf(layer, i, radius, layout),
      ...(hasNumbers ? [svg("text", { class: "value", y: radius + 17 })] : []),
    ),
  );
  const group = svg("g", { class: "nodes", "data-layer": layer }, ...items);
  if (nodesHidden(layer)) group.append(countOf(layer, x, ys.at(-1)));
  return { group, items };
}

function halvesOf(layer, r) {
  const half = (side, sweep) =>
    svg("path", { class: `half ${side}`, d: `M0 ${-r}A${r} ${r} 0 0 ${sweep} 0 ${r}` });
  // Nothing comes back to an input: its disc is whole.
  if (layer === 0) return [svg("circle", { class: "half left", r })];
  return [half("left", 0), half("right", 1)];
}

// Inputs and outputs have names beside them.
function labelOf(layer, i, radius, layout) {
  if (layer !== 0 && layer !== LAST) return [];
  const side = layer === 0 ? -1 : 1;
  const label = nodeLabel(layer, i);
  const text = svg(
    "text",
    {
      class: "label",
      x: side * (radius + 9),
      y: 4,
      "text-anchor": side < 0 ? "end" : "start",
    },
    fitting(label, layout.longest),
  );
  return [svg("title", {}, label), text];
}

const countOf = (layer, x, y) =>
  svg("text", { class: "count", x, y: y + 4 }, `+ ${nodesHidden(layer)} more`);

function headOf(layer, layout) {
  const { x } = layout.layers[layer];
  const name = layer === 0 ? "input" : layer === LAST ? "output" : `layer ${layer}`;
  const what = layer === 0 ? `${about.layers[0].size}` : activationOf(layer);
  return [
    svg("text", { class: "head", x, y: 16 }, name),
    svg("text", { class: "subhead", x, y: 33 }, what),
  ];
}

// -- what it shows ------------------------------------------------------------------

function paint(drawing, { view, step, selected }) {
  const current = STEPS[step];
  range(LAST + 1).forEach((layer) => paintNodes(drawing, layer, view, step));
  range(LAST).forEach((i) => paintWeights(drawing, i + 1, view, current));
  for (const old of drawing.picture.querySelectorAll(".selected")) {
    old.classList.remove("selected");
    old.removeAttribute("aria-pressed");
  }
  bringIntoSight(drawing, current);
  if (!selected) return;
  itemOf(drawing, selected).classList.add("selected");
  itemOf(drawing, selected).setAttribute("aria-pressed", "true");
}

// A deep network is wider than its place, which then scrolls to what is computed.
function bringIntoSight({ place, layout }, { targets, sources }) {
  if (layout.width <= place.clientWidth || targets.length + sources.length > 2) return;
  const xs = [...targets, ...sources].map((layer) => layout.layers[layer].x);
  if (xs.length) place.scrollLeft = Math.min(...xs) - place.clientWidth / 3;
}

function paintNodes(drawing, layer, view, step) {
  const current = STEPS[step];
  const { group, items } = drawing.nodes[layer];
  const known = knownAt(step, layer);
  const values = valuesOf(view, layer);
  group.classList.toggle("target", current.targets.includes(layer));
  group.classList.toggle("source", current.sources.includes(layer));
  for (const side of layer === 0 ? ["left"] : ["left", "right"]) {
    const shown = known[side] && values[known[side]];
    const most = shown ? largest(shown) : 0;
    items.forEach((item, i) => {
      colour(item.querySelector(`.${side}`), shown ? shown[i] : 0, most);
    });
  }
  const name = known.right ?? known.left;
  items.forEach((item, i) => {
    const text = item.querySelector(".value");
    if (text) text.textContent = name ? sixDigits(values[name][i]) : "";
    item.setAttribute("aria-label", `${nodeName(layer, i)}${spoken(values, known, i)}`);
  });
}

function spoken(values, known, i) {
  const names = [known.left, known.right].filter(Boolean);
  return names.map((name) => `, ${name} ${sixDigits(values[name][i])}`).join("");
}

function paintWeights(drawing, layer, view, current) {
  const { group, items } = drawing.lines[layer - 1];
  const value = (k, j) =>
    current.showsGradient ? weightGradient(view, layer, k, j) : weight(layer, k, j);
  const values = items.map((row, k) => row.map((_, j) => value(k, j)));
  const most = largest(values.flat());
  group.classList.toggle("active", current.weights.includes(layer));
  items.forEach((row, k) => row.forEach((line, j) => colour(line, values[k][j], most)));
}

// Sign and size of a value, which the style sheet turns into colours and dashes.
function colour(item, value, most) {
  item.classList.toggle("negative", value < 0);
  item.classList.toggle("positive", value > 0);
  item.style.setProperty("--share", shareOf(value, most));
}

// -- which of its parts: a node {layer, i} or a weight {layer, k, j} -------------------

function itemOf(drawing, part) {
  if ("k" in part) return drawing.lines[part.layer - 1].items[part.k][part.j];
  return drawing.nodes[part.layer].items[part.i];
}

function nodeName(layer, i) {
  const numbered = `node ${nodeNumber(layer, i)} of ${layerName(layer)}`;
  const named = layer === 0 || layer === LAST;
  return named ? `${nodeLabel(layer, i)}, ${numbered}` : numbered;
}

function weightName({ layer, k, j }) {
  const from = `node ${nodeNumber(layer - 1, k)} of ${layerName(layer - 1)}`;
  return `weight from ${from} to node ${nodeNumber(layer, j)} of ${layerName(layer)}`;
}

// The weight whose line passes the point, within a few pixels.
function weightAt(drawing, x, y) {
  const { layers } = drawing.layout;
  const layer = layers.findIndex((place) => place.x > x);
  if (layer < 1) return null;
  const [from, to] = [layers[layer - 1], layers[layer]];
  const along = (x - from.x) / (to.x - from.x);
  let best = { distance: 8 };
  for (const k of range(nodesDrawn(layer - 1))) {
    for (const j of range(nodesDrawn(layer))) {
      const rise = to.ys[j] - from.ys[k];
      const cosine = (to.x - from.x) / Math.hypot(to.x - from.x, rise);
      const distance = Math.abs(y - from.ys[k] - along * rise) * cosine;
      if (distance < best.distance) best = { distance, part: { layer, k, j } };
    }
  }
  return best.part ?? null;
}

function followPointer(drawing, onOpen) {
  const { picture } = drawing;
  const partAt = (event) => {
    const node = drawing.parts.get(event.target.closest(".node"));
    const box = picture.getBoundingClientRect();
    const scale = drawing.layout.width / box.width; // less than 1 where it is printed
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    return node ?? weightAt(drawing, x * scale, y * scale);
  };
  let hovered = null;
  picture.addEventListener("pointermove", (event) => {
    const part = partAt(event);
    hovered?.classList.remove("hovered");
    hovered = part && itemOf(drawing, part);
    hovered?.classList.add("hovered");
    picture.classList.toggle("clickable", Boolean(part));
  });
  picture.addEventListener("pointerleave", () => hovered?.classList.remove("hovered"));
  picture.addEventListener("click", (event) => {
    const part = partAt(event);
    if (!part) return;
    itemOf(drawing, part).focus({ preventScroll: true });
    onOpen(part);
  });
}

// One part is in the order of the Tab key: where the focus is or was. From there the
// arrow keys go on.
function followKeys(drawing, onOpen) {
  const { frame, parts } = drawing;
  let current = itemOf(drawing, { layer: 0, i: 0 });
  current.setAttribute("tabindex", "0");
  frame.addEventListener("focusin", (event) => {
    current.setAttribute("tabindex", "-1");
    current = event.target;
    current.setAttribute("tabindex", "0");
  });
  frame.addEventListener("keydown", (event) => {
    const { key } = event;
    const next = neighbour(parts.get(current), key);
    if (key === "Enter" || key === " ") onOpen(parts.get(current));
    else if (key === "Escape") byId("next").focus();
    else if (next) itemOf(drawing, next).focus();
    else if (!key.startsWith("Arrow")) return;
    event.preventDefault();
    event.stopPropagation();
  });
}

// Up and down stay in a column; left and right lead along a weight.
function neighbour(part, key) {
  const by = { ArrowUp: -1, ArrowDown: 1 }[key];
  const isRight = key === "ArrowRight";
  const { layer } = part;
  if (!key.startsWith("Arrow")) return null;
  if ("k" in part) {
    if (by) return weightBeside(part, by);
    return isRight ? { layer, i: part.j } : { layer: layer - 1, i: part.k };
  }
  if (by) {
    const i = part.i + by;
    return within(i, nodesDrawn(layer)) ? { layer, i } : null;
  }
  if (isRight) return layer < LAST ? { layer: layer + 1, k: part.i, j: 0 } : null;
  return layer > 0 ? { layer, k: 0, j: part.i } : null;
}

function weightBeside({ layer, k, j }, by) {
  const columns = nodesDrawn(layer);
  const index = k * columns + j + by;
  if (!within(index, nodesDrawn(layer - 1) * columns)) return null;
  return { layer, k: Math.floor(index / columns), j: index % columns };
}

const within = (index, n) => index >= 0 && index < n;
