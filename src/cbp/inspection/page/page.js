// The page: what is shown at the moment, and what changes that.

const state = { view: 1, step: 0, selected: null, pane: "update" };
let drawing = null;

function show(changes) {
  Object.assign(state, changes);
  showHeadline();
  showStep();
  paint(drawing, state);
  showDetails(state);
  showWanted(state);
  showPane(state);
}

function showHeadline() {
  const { view } = state;
  byId("view").value = String(view);
  shows("headline", ...headline(view));
}

function headline(view) {
  const value = number(arrays.views[view].loss, "loss");
  const index = isMean(view) ? [] : [html("sub", {}, "0")];
  const equation = html("span", { class: "number" }, "C", ...index, " = ", value);
  if (isMean(view)) return [`The mean of ${about.n_samples} samples: `, equation];
  const { row, truth, predicted } = samples[view - 1];
  const agrees = truth === predicted;
  const answer = agrees ? "the network agrees" : `the network says ${predicted}`;
  return [`Sample ${row} is ${truth}, ${answer}: `, equation];
}

function showStep() {
  const step = STEPS[state.step];
  const ofMean = isMean(state.view) ? ["The numbers are means over all samples."] : [];
  shows("step-phase", `${step.phase} · step ${state.step + 1} of ${STEPS.length}`);
  shows("step-title", step.title);
  shows("step-sentence", sentence(step.sentence, ...ofMean));
  shows("step-equation", step.equation(state.view));
  byId("steps").querySelectorAll("input")[state.step].checked = true;
  // Disabled, a button would drop the focus of who just pressed it.
  byId("previous").setAttribute("aria-disabled", state.step === 0);
  byId("next").setAttribute("aria-disabled", state.step === STEPS.length - 1);
  showLegend(step);
}

function goTo(step) {
  show({ step: Math.min(Math.max(step, 0), STEPS.length - 1) });
  const strip = byId("steps");
  const chip = strip.querySelectorAll(".chip")[state.step];
  strip.scrollLeft = chip.offsetLeft - strip.clientWidth / 2;
}

function open(selected) {
  show({ selected });
}

// -- what stays ----------------------------------------------------------------------

function describeModel() {
  const sizes = about.layers.map((layer) => layer.size);
  const words = [`${about.model} ${sizes.join("–")}`];
  if (LAST > 1) words.push(`hidden layers ${about.activation}`);
  words.push(`output ${about.output_activation}`, `loss ${about.loss}`);
  shows("model", words.join(", "));
}

function listViews() {
  const option = (view, text) => html("option", { value: view }, text);
  const described = samples.map(({ row, truth, predicted }, i) => {
    const arrow = truth === predicted ? truth : `${truth} → ${predicted}`;
    return option(i + 1, `sample ${row}: ${arrow}`);
  });
  const all = option(0, `the mean of all ${about.n_samples} samples`);
  const order = "hardest pull at the parameters first";
  shows("view", all, html("optgroup", { label: order }, ...described));
  byId("view").addEventListener("change", (event) =>
    show({ view: Number(event.target.value) }),
  );
}

function listSteps() {
  const chips = STEPS.map((step, i) => {
    const chip = choice("step", i, step.chip, () => goTo(i));
    chip.title = step.title;
    chip.querySelector("input").setAttribute("aria-label", step.title);
    return chip;
  });
  const phases = STEPS.map((step) => step.phase.split(",")[0]);
  const named = chips.flatMap((chip, i) => {
    if (phases[i] === phases[i - 1]) return [chip];
    return [html("span", { class: "phase" }, phases[i].toLowerCase()), chip];
  });
  shows("steps", ...named);
  byId("previous").addEventListener("click", () => goTo(state.step - 1));
  byId("next").addEventListener("click", () => goTo(state.step + 1));
  document.addEventListener("keydown", stepByKey);
}

// Left and right step, wherever nothing else uses them.
function stepByKey(event) {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!by || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.target.closest("select, #panes")) return;
  event.preventDefault();
  goTo(state.step + by);
  if (event.target.closest("#steps")) byId("steps").querySelector(":checked").focus();
}

function showLegend(step) {
  const key = (mark, text) =>
    html("span", {}, html("i", { class: `key ${mark}` }), text);
  shows(
    "legend",
    key("left-half", "left half: z or a"),
    key("right-half", "right half: δ"),
    key("plus", "positive"),
    key("minus", "negative: dashed"),
    key("now", "computed now"),
    key("from", "from these"),
    html(
      "span",
      {},
      step.showsGradient ? "line width: |derivative|" : "line width: |w|",
      ", in each layer relative to its largest; so are colours",
    ),
  );
}

function writeNotes() {
  const notes = [...samplesNote(), ...nodesNote()];
  if (about.is_weighted) notes.push("Means are taken with the sample weights.");
  notes.push(
    sentence(
      "Layers, nodes and samples are numbered as the arrays are indexed: nodes and",
      "samples from 0. Numbers have six significant digits. Made by cbp.explore.",
    ),
  );
  shows("notes", ...notes.map((note) => html("p", {}, note)));
}

function samplesNote() {
  if (samples.length === about.n_samples) return [];
  const note = sentence(
    `Of ${about.n_samples} samples those ${samples.length} can be chosen that pull`,
    "hardest at the parameters: by the norm of their gradient times their weight.",
    "The mean is that of all.",
  );
  return [note];
}

function nodesNote() {
  const cut = about.layers.filter((_, layer) => nodesHidden(layer));
  if (cut.length === 0) return [];
  const most = Math.max(...cut.map((layer) => layer.nodes.length));
  const note = sentence(
    `Of a layer at most ${most} nodes are drawn: the inputs with the largest mean`,
    "|x ∂C₀/∂x|, in other layers the nodes with the largest mean |δ|. Sums are over",
    "all nodes; what those that are not drawn add is one summand.",
  );
  return [note];
}

function draw() {
  const place = byId("drawing");
  drawing = makeDrawing(place, open);
  show({});
}

function start() {
  describeModel();
  listViews();
  listSteps();
  makePanes((pane) => show({ pane }));
  writeNotes();
  draw();
  let width = byId("drawing").clientWidth;
  new ResizeObserver(() => {
    if (byId("drawing").clientWidth === width) return;
    width = byId("drawing").clientWidth;
    draw();
  }).observe(byId("drawing"));
}

start();
