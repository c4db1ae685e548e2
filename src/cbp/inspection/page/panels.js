// What each output should do, and what one step of learning does.

// -- Backprop.wanted_changes ------------------------------------------------------

function showWanted({ view }) {
  const { a: outputs, y: targets, dC0_da, delta: errors } = valuesOf(view, LAST);
  const most = [largest(dC0_da), largest(errors)];
  const rows = outputs.map((value, j) => [
    nodeLabel(LAST, j),
    number(value, "a"),
    number(targets[j], "y"),
    arrow(-dC0_da[j], most[0], "wanted"),
    arrow(-errors[j], most[1], "wanted-z"),
  ]);
  if (nodesHidden(LAST)) rows.push([`${nodesHidden(LAST)} more`, "", "", "", ""]);
  const head = ["", "a", "y", "a should go", "z should go"];
  shows(
    "wanted",
    html("div", { class: "formula" }, table("wanted", head, rows)),
    html("p", { class: "hint" }, ...meaningOfArrows()),
  );
}

function meaningOfArrows() {
  return [
    "The way in which the loss falls, and how much per unit: ",
    inline(mo("−"), slashed(sampleLoss(), a(LAST, "j"))),
    " for the activation, ",
    inline(mo("−"), delta(LAST, "j")),
    " for the weighted input.",
  ];
}

function arrow(change, most, name) {
  const direction = change > 0 ? "up" : change < 0 ? "down" : "stay";
  const sign = { up: "↑", down: "↓", stay: "·" }[direction];
  const attributes = {
    class: `arrow ${direction}`,
    role: "img",
    "aria-label": direction,
  };
  const mark = html("i", attributes, sign);
  mark.style.setProperty("--share", shareOf(change, most));
  return html("span", { class: "change" }, mark, number(change, name));
}

// -- one step against the gradient ----------------------------------------------------

const PANES = { update: "The update", loss: "The loss" };

function makePanes(onChoose) {
  const chips = Object.entries(PANES).map(([name, title]) =>
    choice("pane", name, [title], onChoose),
  );
  shows("panes", ...chips);
}

function showPane(state) {
  byId("panes").querySelector(`[value=${state.pane}]`).checked = true;
  const content = state.pane === "update" ? updatePane(state) : lossPane(state);
  shows("pane", ...content);
}

const whose = (view) =>
  isMean(view) ? "the mean of all samples" : `sample ${samples[view - 1].row}`;

function rateNote() {
  return html(
    "p",
    { class: "hint" },
    inline(mi("η"), mo("=")),
    " ",
    number(about.learning_rate, "learning_rate"),
    `, ${about.learning_rate_name}`,
  );
}

function updatePane({ view, selected }) {
  const opened = selected && selected.layer > 0 ? [selected] : [];
  return [
    html(
      "p",
      {},
      `Against the gradient of ${whose(view)}, every weight and bias at once.`,
    ),
    rateNote(),
    ...opened.flatMap((part) => [
      html("h3", {}, "What is open"),
      updates(view, [part]),
    ]),
    html("h3", {}, "The largest updates of the weights that are drawn"),
    updates(view, largestUpdates(view)),
  ];
}

function updates(view, parts) {
  const C = isMean(view) ? loss() : sampleLoss();
  const change = inline(mo("−"), mi("η"), slashed(C, mi("w")));
  const rows = parts.map((part) => {
    const { name, before, by } = changeOf(view, part);
    return [
      html("code", {}, name),
      number(before, "before"),
      number(by, "change"),
      number(before + by, "after"),
    ];
  });
  const made = table("updates", ["", inline(mi("w")), change, "after"], rows);
  return html("div", { class: "formula" }, made);
}

function changeOf(view, part) {
  const { layer } = part;
  const rate = about.learning_rate;
  if ("k" in part) {
    const index = `${nodeNumber(layer - 1, part.k)}, ${nodeNumber(layer, part.j)}`;
    return {
      name: `coefs_[${layer - 1}][${index}]`,
      before: weight(layer, part.k, part.j),
      by: -rate * weightGradient(view, layer, part.k, part.j),
    };
  }
  return {
    name: `intercepts_[${layer - 1}][${nodeNumber(layer, part.i)}]`,
    before: bias(layer, part.i),
    by: -rate * biasGradient(view, layer, part.i),
  };
}

function largestUpdates(view) {
  const parts = range(LAST).flatMap((i) =>
    range(nodesDrawn(i)).flatMap((k) =>
      range(nodesDrawn(i + 1)).map((j) => ({ layer: i + 1, k, j })),
    ),
  );
  const size = ({ layer, k, j }) => Math.abs(weightGradient(view, layer, k, j));
  return parts
    .map((part) => [size(part), part])
    .sort(([one], [other]) => other - one)
    .slice(0, 5)
    .map(([, part]) => part);
}

function lossPane({ view }) {
  const { loss: before, loss_after: after } = arrays.views[view];
  const most = Math.max(before, after);
  const bar = (value) => {
    const made = html("i", { class: "bar" });
    made.style.setProperty("--share", shareOf(value, most));
    return made;
  };
  const rows = [
    ["before", number(before, "loss"), bar(before)],
    ["after", number(after, "loss_after"), bar(after)],
    ["change", number(after - before, "loss_change"), ""],
  ];
  return [
    html("p", {}, `${verdict(before, after)} of ${whose(view)}.`),
    rateNote(),
    table("losses", ["", inline(isMean(view) ? loss() : sampleLoss()), ""], rows),
  ];
}

function verdict(before, after) {
  if (after < before) return "The step lowers the loss";
  if (after === before) return "The step does not change the loss";
  return "The step, too long, raises the loss"; // if need be to infinity, or NaN
}
