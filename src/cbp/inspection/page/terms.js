// Sums and products with their numbers: how one value came about.

// A sum over the nodes of a layer: of each the two factors and their product, then what
// else there is, then the total.
function sumTable({ name, head, layer, factors, rest, others = [], total }) {
  const rows = factors.map(([first, second], m) => [
    html("span", {}, String(nodeNumber(layer, m)), labelBeside(layer, m)),
    number(first, `${name}-first`),
    number(second, `${name}-second`),
    number(first * second, `${name}-summand`),
  ]);
  if (rest !== undefined) {
    const count = `${nodesHidden(layer)} more`;
    rows.push([count, "", "", number(rest, `${name}-rest`)]);
  }
  const made = table("sum", [...head, "product"], [...rows, ...others]);
  const last = html("tr", {}, html("th", { scope: "row", colspan: "3" }, "sum"));
  last.append(html("td", {}, number(total, `${name}-total`)));
  made.append(html("tfoot", {}, last));
  made.dataset.name = name;
  return made;
}

function labelBeside(layer, i) {
  const isNamed = layer === 0 || layer === LAST;
  return html("small", {}, isNamed ? ` ${nodeLabel(layer, i)}` : "");
}

const comesAbout = (formula) => ["How ", inline(formula), " comes about"];
const isShort = (layer) => nodesDrawn(layer) <= 10;

// z^l_j = sum_k w^l_jk a^{l-1}_k + b^l_j
function weightedInputSum(view, layer, j) {
  const below = valuesOf(view, layer - 1).a;
  const here = valuesOf(view, layer);
  const sum = sumTable({
    name: "z",
    head: ["k", inline(w(layer, "jk")), inline(a(layer - 1, "k"))],
    layer: layer - 1,
    factors: below.map((value, k) => [weight(layer, k, j), value]),
    rest: here.z_rest?.[j],
    others: [["bias", "", "", number(bias(layer, j), "z-bias")]],
    total: here.z[j],
  });
  return foldable(comesAbout(z(layer, "j")), isShort(layer - 1), sum);
}

// dC_0/da^l_j = sum_m w^{l+1}_mj delta^{l+1}_m
function activationGradSum(view, layer, j) {
  const here = valuesOf(view, layer);
  const sum = sumTable({
    name: "dC0_da",
    head: ["m", inline(w(layer + 1, "mj")), inline(delta(layer + 1, "m"))],
    layer: layer + 1,
    factors: valuesOf(view, layer + 1).delta.map((error, m) => [
      weight(layer + 1, j, m),
      error,
    ]),
    rest: here.dC0_da_rest?.[j],
    total: here.dC0_da[j],
  });
  const words = sentence(
    `Each node m of ${layerName(layer + 1)} sends its error signal back`,
    "along the weight that leads to it.",
  );
  const title = comesAbout(slashed(sampleLoss(), a(layer, "j")));
  return foldable(title, true, html("p", {}, words), sum);
}

// dC_0/da^L_j as it follows from the loss.
function lossSlope(view, j) {
  const left = partial(sampleLoss(), a(LAST, "j"));
  const value = valuesOf(view, LAST).dC0_da[j];
  const whole = equations(left, ...slopeOfLoss(), mn(value));
  const title = comesAbout(slashed(sampleLoss(), a(LAST, "j")));
  return foldable(title, true, html("div", { class: "formula" }, whole));
}

// delta^L_j = sum_m dC_0/da^L_m da^L_m/dz^L_j, along a row of the Jacobian of softmax
function jacobianSum(view, j) {
  const here = valuesOf(view, LAST);
  const sum = sumTable({
    name: "jacobian",
    head: [
      "m",
      inline(slashed(sampleLoss(), a(LAST, "m"))),
      inline(slashed(a(LAST, "m"), z(LAST, "j"))),
    ],
    layer: LAST,
    factors: here.jacobian[j].map((da_dz, m) => [here.dC0_da[m], da_dz]),
    rest: here.delta_rest?.[j],
    total: here.delta[j],
  });
  const words = sentence(
    "Softmax couples the outputs: the weighted input of this one moves them all.",
    "A row of its Jacobian:",
  );
  return foldable(comesAbout(delta(LAST, "j")), true, html("p", {}, words), sum);
}

// What dC_0/da^l_j of a node comes from, and delta^L_j of a softmax output.
function originOfError(view, layer, j) {
  if (layer < LAST) return [activationGradSum(view, layer, j)];
  if (isMean(view)) return []; // the formulas are those of one sample
  if (isCoupled(layer)) return [lossSlope(view, j), jacobianSum(view, j)];
  return [lossSlope(view, j)];
}

// The three factors of dC_0/dw^l_jk, or two where softmax couples the first two.
function factorsOf(view, { layer, k, j }) {
  const here = valuesOf(view, layer);
  const dz_dw = {
    name: "dz_dw",
    formula: (derivative) => derivative(z(layer, "j"), w(layer, "jk")),
    value: valuesOf(view, layer - 1).a[k],
    meaning: ["what enters the weight, ", inline(a(layer - 1, "k"))],
  };
  if (isCoupled(layer)) {
    const error = {
      name: "delta",
      formula: (derivative) => derivative(sampleLoss(), z(layer, "j")),
      value: here.delta[j],
      meaning: ["the error signal, ", inline(delta(layer, "j"))],
    };
    return [error, dz_dw];
  }
  return [
    {
      name: "dC0_da",
      formula: (derivative) => derivative(sampleLoss(), a(layer, "j")),
      value: here.dC0_da[j],
      meaning: ["how the loss changes with the activation"],
    },
    {
      name: "da_dz",
      formula: (derivative) => derivative(a(layer, "j"), z(layer, "j")),
      value: here.slope[j],
      meaning: ["the slope of the activation, ", inline(slope(layer))],
    },
    dz_dw,
  ];
}
