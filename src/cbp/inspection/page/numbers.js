// The numbers of the page. They were computed by cbp; what is multiplied here is what
// the formula on the screen multiplies, in the same arithmetic.

const { about, samples, arrays } = readData();
const LAST = about.layers.length - 1; // L

function readData() {
  const data = JSON.parse(document.getElementById("data").textContent);
  return { ...data, arrays: withNumbers(data.arrays) };
}

// JSON has neither infinity nor NaN: they come as strings.
function withNumbers(tree) {
  const special = { inf: Infinity, "-inf": -Infinity, nan: NaN };
  if (typeof tree === "string") return special[tree];
  if (Array.isArray(tree)) return tree.map(withNumbers);
  if (tree === null || typeof tree !== "object") return tree;
  return Object.fromEntries(
    Object.entries(tree).map(([name, value]) => [name, withNumbers(value)]),
  );
}

// As Python's format(x, ".6g"), which rounds ties to even; toExponential does not.
function sixDigits(x) {
  if (Number.isNaN(x)) return "nan";
  if (!Number.isFinite(x)) return x > 0 ? "inf" : "-inf";
  if (x === 0) return "0";
  const size = Math.abs(x);
  const exact = size.toExponential(100);
  const roundsDown = /^\d\.\d{4}[02468]50*e/.test(exact);
  const rounded = roundsDown ? exact : size.toExponential(5);
  const digits = rounded[0] + rounded.slice(2, 7);
  const exponent = Number(rounded.split("e")[1]);
  return (x < 0 ? "-" : "") + withPoint(digits, exponent);
}

function withPoint(digits, exponent) {
  const trimmed = digits.replace(/0+$/, "");
  if (exponent < -4 || exponent >= 6) {
    const mantissa = trimmed.length > 1 ? `${trimmed[0]}.${trimmed.slice(1)}` : trimmed;
    const sign = exponent < 0 ? "-" : "+";
    return `${mantissa}e${sign}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }
  if (exponent < 0) return `0.${"0".repeat(-exponent - 1)}${trimmed}`;
  const whole = digits.slice(0, exponent + 1);
  const fraction = trimmed.slice(exponent + 1);
  return fraction ? `${whole}.${fraction}` : whole;
}

// View 0 is the mean over all samples, view i the i-th sample that can be chosen.
const isMean = (view) => view === 0;
const valuesOf = (view, layer) => arrays.views[view].layers[layer];
const weight = (layer, k, j) => arrays.weights[layer - 1].w[k][j];
const bias = (layer, j) => arrays.biases[layer - 1].b[j];

// dC/dw^l_jk of the mean, penalty included, or dC_0/dw^l_jk of one sample (BP4).
function weightGradient(view, layer, k, j) {
  if (isMean(view)) return arrays.weights[layer - 1].grad[k][j];
  return valuesOf(view, layer - 1).a[k] * valuesOf(view, layer).delta[j];
}

// dC/db^l_j of the mean, or dC_0/db^l_j of one sample (BP3).
function biasGradient(view, layer, j) {
  if (isMean(view)) return arrays.biases[layer - 1].grad[j];
  return valuesOf(view, layer).delta[j];
}

// Nodes are arrays' indices here; on the page they have their numbers and names.
const nodeNumber = (layer, i) => about.layers[layer].nodes[i];
const nodeLabel = (layer, i) => about.layers[layer].labels[i];
const nodesDrawn = (layer) => about.layers[layer].nodes.length;
const nodesHidden = (layer) => about.layers[layer].size - nodesDrawn(layer);
const range = (n) => Array.from({ length: n }, (_, i) => i);
const largest = (values) =>
  values.reduce(
    (most, x) => (Number.isFinite(x) ? Math.max(most, Math.abs(x)) : most),
    0,
  );

// How large a value is, of the largest there is, as the style sheet takes it: 0 to 1.
function shareOf(value, most) {
  const share = most > 0 ? Math.min(1, Math.abs(value) / most) : 0;
  return (share || 0).toFixed(3);
}
