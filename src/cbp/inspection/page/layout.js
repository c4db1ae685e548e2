// Where everything of the drawing lies, in pixels of the screen: text keeps its size,
// and a network that is wider than its place is scrolled.

const HEAD = 44; // room for the names of the layers
const CHARACTER = 7; // about the width of one at 12 px
const CLOSEST_LAYERS = 76;
const FARTHEST_NODES = 76;
const HALF_NUMBER = 44; // of six digits and an exponent

function layOut(width) {
  const mostRows = Math.max(...range(LAST + 1).map(rowsOf));
  const height = Math.min(620, Math.max(200, mostRows * FARTHEST_NODES));
  const longest = Math.min(130, width * 0.22);
  const left = Math.max(HALF_NUMBER, labelWidth(0, longest) + 28);
  const right = Math.max(HALF_NUMBER, labelWidth(LAST, longest) + 28);
  const gap = Math.max(CLOSEST_LAYERS, (width - left - right) / LAST);
  const layers = range(LAST + 1).map((layer) => {
    const pitch = Math.min(FARTHEST_NODES, height / rowsOf(layer));
    const first = HEAD + (height - pitch * (rowsOf(layer) - 1)) / 2;
    return {
      x: left + layer * gap,
      ys: range(rowsOf(layer)).map((row) => first + row * pitch),
      radius: Math.min(18, Math.max(6, pitch * 0.32)),
      hasNumbers: pitch >= 54 && gap >= 64,
    };
  });
  return {
    width: left + LAST * gap + right,
    height: HEAD + height + 24,
    longest,
    layers,
  };
}

// A row for each node that is drawn, and one that counts the others.
const rowsOf = (layer) => nodesDrawn(layer) + (nodesHidden(layer) ? 1 : 0);

function labelWidth(layer, longest) {
  const labels = about.layers[layer].labels.map((label) => label.length * CHARACTER);
  return Math.min(longest, Math.max(...labels));
}

function fitting(label, width) {
  const most = Math.max(3, Math.floor(width / CHARACTER));
  return label.length <= most ? label : `${label.slice(0, most - 1)}…`;
}
