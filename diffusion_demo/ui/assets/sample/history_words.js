// Settings in words.
const SETTING = props.value.settings, SAMPLER = props.value.samplers, MODELS = props.value.models;

function titleOf(name) { // a model that was trained after the page was loaded is not in the list
  const step = /^(.+)\/step_0*(\d+)$/.exec(name);
  return (MODELS[name] || {}).title || (step ? step[1] + ", step " + step[2] : name);
}

function interval(model, [first, last]) { // in percent of the noise, as in the form
  const timesteps = (MODELS[model] || {}).timesteps, percent = (t) => Math.round((100 * t) / timesteps);
  return timesteps ? percent(first) + " to " + percent(last + 1) + " % noise" : "t = " + (first + 1) + " to " + (last + 1);
}

function inWords(s) {
  if (!s) return "This image has no settings.";
  const parts = [], label = (name) => ((MODELS[s.checkpoint] || {}).classes || {})[name] || (name === "mixed" ? "all classes" : name);
  if (s.made_by === "compare") return "Comparison: " + [s.across, s.down].filter(Boolean).map((side) =>
    (SETTING[side.setting] || side.setting) + " " + side.values.map((value) => SAMPLER[value] || (side.setting === "checkpoint" ? titleOf(value) : label(value))).join(", ")).join(" × ") + ".";
  if (s.made_by === "vary") parts.push("variation, strength " + s.how_far + " %");
  if (s.made_by === "interpolate") parts.push("blend " + ((s.index ?? s.picture) + 1) + " of " + s.num_images + ", strength " + s.how_far + " %");
  if (s.class) parts.push(label(s.class));
  parts.push("seed " + s.seed);
  if (s.sampler) parts.push(SAMPLER[s.sampler] || s.sampler);
  if (s.steps) parts.push(s.steps + (s.steps === 1 ? " step" : " steps"));
  if (s.eta) parts.push("eta " + s.eta);
  if (s.guidance_scale !== undefined && s.guidance_scale !== 1) parts.push("guidance " + s.guidance_scale + (s.guidance_interval ? " at " + interval(s.checkpoint, s.guidance_interval) : ""));
  if (s.classifier_scale) parts.push("classifier guidance " + s.classifier_scale);
  if (s.upsampler) parts.push("upscaled 2x by " + titleOf(s.upsampler));
  const text = parts.join(", ");
  return titleOf(s.checkpoint) + ": " + text + ".";
}
