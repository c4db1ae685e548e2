// What has been opened: a node with z, a, g'(z) and delta, or a weight with the terms
// of its derivative.

function showDetails({ view, selected }) {
  if (!selected) return showHint();
  const isWeight = "k" in selected;
  const name = isWeight ? weightName(selected) : nodeName(selected.layer, selected.i);
  shows("details-title", `${name[0].toUpperCase()}${name.slice(1)}`);
  const content = isWeight ? weightDetails : nodeDetails;
  shows("details-body", ...content(view, selected));
}

function showHint() {
  const text = sentence(
    "Click a node for its numbers, a line for the chain rule, term by term.",
    "With the keyboard: Tab to the network, arrow keys, Enter.",
  );
  shows("details-title", "Open a node or a weight");
  shows("details-body", html("p", { class: "hint" }, text));
}

function meansOf(view) {
  if (!isMean(view)) return [];
  const text = sentence(
    `Means over all ${about.n_samples} samples.`,
    "The mean of products is not the product of means.",
  );
  return [html("p", { class: "hint" }, text)];
}

// -- a node ------------------------------------------------------------------------

function nodeDetails(view, { layer, i }) {
  const facts = layer === 0 ? inputFacts(view, i) : nodeFacts(view, layer, i);
  const sum = layer === 0 ? [] : [weightedInputSum(view, layer, i)];
  return [...meansOf(view), factTable(facts), ...originOfError(view, layer, i), ...sum];
}

function factTable(facts) {
  const rows = facts.map(([formula, name, value, ...meaning]) => [
    inline(formula),
    number(value, name),
    html("span", {}, ...meaning),
  ]);
  return table("facts", [], rows);
}

function inputFacts(view, i) {
  const { a: x, dC0_da } = valuesOf(view, 0);
  return [
    [a(0, "j"), "a", x[i], "the feature"],
    [
      slashed(sampleLoss(), a(0, "j")),
      "dC0_da",
      dC0_da[i],
      "how the loss changes with it",
    ],
  ];
}

function nodeFacts(view, l, j) {
  const values = valuesOf(view, l);
  const C = isMean(view) ? loss : sampleLoss;
  const ofSlope = isCoupled(l) ? "with the other z as they are" : "of the activation";
  const { dC0_da } = values;
  return [
    [z(l, "j"), "z", values.z[j], "weighted input"],
    [a(l, "j"), "a", values.a[j], `activation, ${activationOf(l)}`],
    [slope(l), "slope", values.slope[j], `slope ${ofSlope}`],
    [
      slashed(sampleLoss(), a(l, "j")),
      "dC0_da",
      dC0_da[j],
      "how the loss changes with a",
    ],
    [delta(l, "j"), "delta", values.delta[j], "error signal"],
    [b(l, "j"), "b", bias(l, j), "bias"],
    [slashed(C(), b(l, "j")), "dC_db", biasGradient(view, l, j), "in the bias (BP3)"],
  ];
}

// -- a weight ------------------------------------------------------------------------

function weightDetails(view, part) {
  const { layer, k, j } = part;
  const index = `${nodeNumber(layer - 1, k)}, ${nodeNumber(layer, j)}`;
  return [
    html(
      "p",
      {},
      inline(w(layer, "jk")),
      " = ",
      html("code", {}, `coefs_[${layer - 1}][${index}]`),
      " = ",
      number(weight(layer, k, j), "w"),
    ),
    ...(isMean(view) ? meanOfProducts(part) : productOfTerms(view, part)),
    ...originOfError(view, layer, j),
  ];
}

// The factors of the derivative, and their product.
function productOfTerms(view, part) {
  const { layer, k, j } = part;
  const factors = factorsOf(view, part);
  const value = weightGradient(view, layer, k, j);
  const whole = equations(
    partial(sampleLoss(), w(layer, "jk")),
    times(...factors.map((factor) => factor.formula(partial))),
    product(factors.map((factor) => factor.value)),
    mn(value),
  );
  const facts = factors.map((factor) => [
    factor.formula(slashed),
    factor.name,
    factor.value,
    ...factor.meaning,
  ]);
  const derivative = slashed(sampleLoss(), w(layer, "jk"));
  facts.push([derivative, "dC0_dw", value, "their product (BP4)"]);
  return [html("div", { class: "formula" }, whole), factTable(facts)];
}

// The terms of the samples that can be chosen, and the mean over all.
function meanOfProducts(part) {
  const { layer, k, j } = part;
  const views = range(samples.length)
    .map((i) => i + 1)
    .slice(0, 8);
  const head = factorsOf(1, part).map((factor) => inline(factor.formula(slashed)));
  const rows = views.map((view) => [
    `sample ${samples[view - 1].row}`,
    ...factorsOf(view, part).map((factor) => number(factor.value)),
    number(weightGradient(view, layer, k, j)),
  ]);
  if (about.n_samples > views.length) rows.push(["…", ...head.map(() => "…"), "…"]);
  const { mean, grad } = arrays.weights[layer - 1];
  const ofProducts = (mean ?? grad)[k][j];
  rows.push([
    `mean of ${about.n_samples}`,
    ...factorsOf(0, part).map((factor) => number(factor.value, factor.name)),
    number(ofProducts, "dC0_dw"),
  ]);
  const columns = ["", ...head, inline(slashed(sampleLoss(), w(layer, "jk")))];
  return [
    html("div", { class: "formula" }, meanEquation(part, ofProducts)),
    ...meansOf(0),
    html("div", { class: "formula" }, table("samples", columns, rows)),
  ];
}

function meanEquation({ layer, k, j }, mean) {
  const ofOne = () => meanOver("i", partial(sampleLoss(), w(layer, "jk")));
  const left = partial(loss(), w(layer, "jk"));
  const gradient = mn(weightGradient(0, layer, k, j));
  if (!about.shrinkage) return equations(left, ofOne(), gradient);
  const penalty = times(fraction(mi("α"), mi("S")), w(layer, "jk"));
  return equations(
    left,
    mrow(ofOne(), mo("+"), penalty),
    mrow(mn(mean), mo("+"), operand(about.shrinkage * weight(layer, k, j))),
    gradient,
  );
}
