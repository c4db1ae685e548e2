// The steps of backpropagation, in their order: what each computes, from what, and how.

// Of each step: chip (its short name), phase, title, sentence, equation; the quantity
// that is computed and its layers, the layers whose nodes it is computed from, and the
// layers whose weights it uses.
function makeSteps() {
  const layers = range(LAST).map((i) => i + 1);
  const down = [...layers].reverse();
  return [
    inputStep(),
    ...layers.flatMap((l) => [weightedInputStep(l), activationStep(l)]),
    lossStep(),
    ...down.map((l) => (l === LAST ? outputErrorStep() : errorStep(l))),
    biasGradientStep(layers),
    weightGradientStep(layers),
    updateStep(layers),
  ];
}

function layerName(l) {
  if (l === 0) return "the input";
  return l === LAST ? "the output layer" : `layer ${l}`;
}

function inputStep() {
  return {
    chip: ["x"],
    phase: "Forward",
    title: "The input",
    sentence: "The activations of layer 0 are the features of the sample.",
    equation: () => chain(a(0, "k"), symbol("x", undefined, "k")),
    quantity: "a",
    targets: [0],
    sources: [],
    weights: [],
  };
}

function weightedInputStep(l) {
  return {
    chip: ["z", html("sup", {}, String(l))],
    phase: "Forward",
    title: `The weighted inputs of ${layerName(l)}`,
    sentence: sentence(
      `Each node adds up what comes from ${layerName(l - 1)},`,
      "each activation times its weight, and its bias.",
    ),
    equation: () =>
      chain(
        z(l, "j"),
        mrow(sumOver("k", w(l, "jk"), a(l - 1, "k")), mo("+"), b(l, "j")),
      ),
    quantity: "z",
    targets: [l],
    sources: [l - 1],
    weights: [l],
  };
}

function activationStep(l) {
  const g = activationOf(l);
  return {
    chip: ["a", html("sup", {}, String(l))],
    phase: "Forward",
    title: `The activations of ${layerName(l)}`,
    sentence: isCoupled(l)
      ? "Softmax turns the weighted inputs of all outputs into probabilities."
      : `The activation function, ${g}, is applied to the weighted input of each node.`,
    equation: () =>
      chain(
        a(l, "j"),
        mrow(mi("g"), group(z(l, isCoupled(l) ? "" : "j"))),
        activationFormula(g, l),
      ),
    quantity: "a",
    targets: [l],
    sources: [],
    weights: [],
  };
}

function lossStep() {
  return {
    chip: ["C", html("sub", {}, "0")],
    phase: "Forward",
    title: "The loss",
    sentence: `How far the outputs are from the targets: ${lossName()}.`,
    equation: (view) =>
      isMean(view)
        ? meanLossEquation()
        : chain(sampleLoss(), lossFormula(), mn(arrays.views[view].loss)),
    quantity: "a",
    targets: [],
    sources: [LAST],
    weights: [],
  };
}

function meanLossEquation() {
  const { loss: whole, mean_loss: mean, penalty: pull } = arrays.views[0];
  const C_i = meanOver("i", symbol("C", undefined, "0"));
  if (!about.shrinkage) return chain(loss(), C_i, mn(whole));
  const half = fraction(mi("α"), mrow(mn("2"), mi("S")));
  const penalty = mrow(half, sumOver("w", squared(mi("w"))));
  return chain(
    loss(),
    mrow(C_i, mo("+"), penalty),
    mrow(mn(mean), mo("+"), mn(pull)),
    mn(whole),
  );
}

function outputErrorStep() {
  const l = LAST;
  const general = isCoupled(l)
    ? sumOver(
        "m",
        times(partial(sampleLoss(), a(l, "m")), partial(a(l, "m"), z(l, "j"))),
      )
    : times(partial(sampleLoss(), a(l, "j")), slope(l));
  return {
    chip: ["δ", html("sup", {}, String(l))],
    phase: "Backward, BP1",
    title: "The error signals of the output layer",
    sentence:
      "How the loss of a sample changes with the weighted input of each output.",
    equation: () =>
      chain(
        delta(l, "j"),
        partial(sampleLoss(), z(l, "j")),
        general,
        ...(about.is_canonical ? [mrow(a(l, "j"), mo("−"), y("j"))] : []),
      ),
    quantity: "delta",
    targets: [l],
    sources: [],
    weights: [],
  };
}

function errorStep(l) {
  return {
    chip: ["δ", html("sup", {}, String(l))],
    phase: "Backward, BP2",
    title: `The error signals of ${layerName(l)}`,
    sentence: sentence(
      `Each node gathers the error signals of ${layerName(l + 1)}`,
      "through the weights that it feeds, times the slope of its activation.",
    ),
    equation: () =>
      chain(
        delta(l, "j"),
        times(group(sumOver("m", w(l + 1, "mj"), delta(l + 1, "m"))), slope(l)),
      ),
    quantity: "delta",
    targets: [l],
    sources: [l + 1],
    weights: [l + 1],
  };
}

function biasGradientStep(layers) {
  return {
    chip: ["∂b"],
    phase: "Gradient, BP3",
    title: "The gradient in the biases",
    sentence: sentence(
      "A bias adds to the weighted input as it is:",
      "its derivative is the error signal.",
    ),
    equation: (view) => {
      const ofOne = () => delta("l", "j");
      return isMean(view)
        ? chain(partial(loss(), b("l", "j")), meanOver("i", ofOne()))
        : chain(partial(sampleLoss(), b("l", "j")), ofOne());
    },
    quantity: "delta",
    targets: layers,
    sources: [],
    weights: [],
  };
}

function weightGradientStep(layers) {
  return {
    chip: ["∂w"],
    phase: "Gradient, BP4",
    title: "The gradient in the weights",
    sentence: sentence(
      "What enters a weight, times the error signal where it leads.",
      "The lines show these derivatives now.",
    ),
    equation: (view) => {
      const ofOne = () => times(a("l−1", "k"), delta("l", "j"));
      if (!isMean(view)) return chain(partial(sampleLoss(), w("l", "jk")), ofOne());
      const penalty = about.shrinkage
        ? [mo("+"), fraction(mi("α"), mi("S")), w("l", "jk")]
        : [];
      return chain(
        partial(loss(), w("l", "jk")),
        mrow(meanOver("i", ofOne()), ...penalty),
      );
    },
    quantity: "delta",
    targets: [],
    sources: [0, ...layers],
    weights: layers,
    showsGradient: true,
  };
}

function updateStep(layers) {
  return {
    chip: ["w′"],
    phase: "Learning",
    title: "The update",
    sentence: sentence(
      "Every weight and bias goes a little against its derivative.",
      "Under “One step of learning” is what comes of it.",
    ),
    equation: (view) => {
      const C = isMean(view) ? loss : sampleLoss;
      return chain(
        mrow(mi("w"), tight("′")),
        mrow(mi("w"), mo("−"), times(mi("η"), partial(C(), mi("w")))),
      );
    },
    quantity: "delta",
    targets: [],
    sources: [],
    weights: layers,
    showsGradient: true,
  };
}

const lossName = () => about.loss.replaceAll("_", " ");

const STEPS = makeSteps();

// The quantities of a layer that are known at a step, in the halves of its nodes.
function knownAt(step, layer) {
  const computed = STEPS.slice(0, step + 1).filter((s) => s.targets.includes(layer));
  const forward = computed.filter((s) => s.quantity !== "delta").at(-1);
  const backward = computed.find((s) => s.quantity === "delta");
  return { left: forward?.quantity, right: backward?.quantity };
}
