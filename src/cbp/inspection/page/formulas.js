// The equations as MathML, with the symbols of cbp's documentation.

const mi = (name) => math("mi", name);
const mo = (sign) => math("mo", sign);
const tight = (sign) => elementIn(MATHML, "mo", { lspace: "0", rspace: "0" }, [sign]);
const mn = (value) => math("mn", typeof value === "string" ? value : sixDigits(value));
const mrow = (...parts) => math("mrow", ...parts);

// name^layer_indices; the layer may be a number, or a text such as "l−1".
function symbol(name, layer, indices) {
  const upper = layer === undefined ? null : layerMark(String(layer));
  const lower = indices ? mrow(...[...indices].map(mi)) : null;
  if (upper && lower) return math("msubsup", mi(name), lower, upper);
  if (upper) return math("msup", mi(name), upper);
  return lower ? math("msub", mi(name), lower) : mi(name);
}

function layerMark(layer) {
  const kinds = (part) => (part === "−" ? mo : /\d/.test(part) ? mn : mi);
  return mrow(...layer.match(/\d+|./g).map((part) => kinds(part)(part)));
}

const a = (layer, index) => symbol("a", layer, index);
const b = (layer, index) => symbol("b", layer, index);
const w = (layer, indices) => symbol("w", layer, indices);
const y = (index) => symbol("y", undefined, index);
const z = (layer, index) => symbol("z", layer, index);
const delta = (layer, index) => symbol("δ", layer, index);
const sampleLoss = () => math("msub", mi("C"), math("mn", "0"));
const loss = () => mi("C");

const fraction = (top, bottom) => math("mfrac", top, bottom);
const partial = (top, bottom) => fraction(mrow(mo("∂"), top), mrow(mo("∂"), bottom));
// The same in a line of text.
const slashed = (top, bottom) => mrow(mo("∂"), top, tight("∕"), mo("∂"), bottom);
const sumOver = (index, ...inner) => mrow(math("munder", mo("∑"), mi(index)), ...inner);
const meanOver = (index, ...inner) =>
  mrow(math("munder", mi("mean"), mi(index)), math("mtext", "\u2009"), ...inner);
const group = (...inner) => mrow(mo("("), ...inner, mo(")"));
const times = (...factors) =>
  mrow(...factors.flatMap((factor, i) => (i ? [mo("·"), factor] : [factor])));
const operand = (value) => (value < 0 ? group(mn(value)) : mn(value));
const product = ([first, ...others]) => times(mn(first), ...others.map(operand));

// left = rights[0] = rights[1] = ... in one line.
function chain(left, ...rights) {
  const whole = math("math", left, ...rights.flatMap((right) => [mo("="), right]));
  whole.setAttribute("displaystyle", "true");
  return whole;
}

// left = rights[0] = rights[1] = ..., below each other.
function equations(left, ...rights) {
  const rows = rights.map((right, i) =>
    math(
      "mtr",
      math("mtd", ...(i ? [] : [left])),
      math("mtd", mo("=")),
      math("mtd", right),
    ),
  );
  const body = math("mtable", ...rows);
  body.setAttribute("displaystyle", "true");
  const whole = math("math", body);
  whole.setAttribute("display", "block");
  return whole;
}

const inline = (...parts) => math("math", ...parts);

const slope = (l) => mrow(mi("g"), tight("′"), group(z(l, "j")));

const exponential = (...power) => mrow(mi("exp"), group(...power));
const one = () => mn("1");

// g(z^l_j) of each activation.
const ACTIVATIONS = {
  identity: (l) => z(l, "j"),
  relu: (l) => mrow(mi("max"), group(mn("0"), mo(","), z(l, "j"))),
  tanh: (l) => mrow(mi("tanh"), z(l, "j")),
  logistic: (l) =>
    fraction(one(), mrow(one(), mo("+"), exponential(mo("−"), z(l, "j")))),
  exp: (l) => exponential(z(l, "j")),
  softmax: (l) =>
    fraction(exponential(z(l, "j")), sumOver("m", exponential(z(l, "m")))),
};

const squared = (inner) => math("msup", inner, math("mn", "2"));
const residual = () => group(a(LAST, "j"), mo("−"), y("j"));
const logarithm = (inner) => mrow(mi("ln"), inner);

// C_0 of each loss, and what its BP1 comes to with the output it is made for.
const LOSSES = {
  squared_error: () =>
    mrow(fraction(one(), mn("2")), sumOver("j", squared(residual()))),
  sum_of_squares: () => sumOver("j", squared(residual())),
  poisson: () =>
    sumOver(
      "j",
      group(
        times(y("j"), logarithm(fraction(y("j"), a(LAST, "j")))),
        mo("−"),
        y("j"),
        mo("+"),
        a(LAST, "j"),
      ),
    ),
  log_loss: () =>
    about.is_coupled
      ? mrow(mo("−"), sumOver("j", y("j"), logarithm(a(LAST, "j"))))
      : mrow(mo("−"), sumOver("j", group(bernoulli()))),
};

function bernoulli() {
  const other = (value) => group(one(), mo("−"), value);
  return mrow(
    y("j"),
    logarithm(a(LAST, "j")),
    mo("+"),
    other(y("j")),
    logarithm(other(a(LAST, "j"))),
  );
}

// dC_0/da^L_j of each loss.
const LOSS_SLOPES = {
  squared_error: () => mrow(a(LAST, "j"), mo("−"), y("j")),
  sum_of_squares: () => mrow(mn("2"), residual()),
  poisson: () => mrow(one(), mo("−"), fraction(y("j"), a(LAST, "j"))),
  log_loss: () => {
    const own = [mo("−"), fraction(y("j"), a(LAST, "j"))];
    if (about.is_coupled) return mrow(...own);
    const other = (value) => mrow(one(), mo("−"), value);
    return mrow(...own, mo("+"), fraction(other(y("j")), other(a(LAST, "j"))));
  },
};

// What is not set here as mathematics stands as text, as its record has it.
const inWords = (formula) => math("mtext", formula);
const activationFormula = (g, l) =>
  ACTIVATIONS[g] ? ACTIVATIONS[g](l) : inWords(about.formulas[g]);
const lossFormula = () =>
  LOSSES[about.loss]
    ? LOSSES[about.loss]()
    : sumOver("j", group(inWords(about.loss_formula)));
const slopeOfLoss = () => (LOSS_SLOPES[about.loss] ? [LOSS_SLOPES[about.loss]()] : []);

const isCoupled = (layer) => layer === LAST && about.is_coupled;
const activationOf = (layer) =>
  layer === LAST ? about.output_activation : about.activation;
