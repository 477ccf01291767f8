// Settings as a person says them.
const SETTING = props.value.settings, SAMPLER = props.value.samplers;

function inWords(s) {
  if (!s) return "This image says nothing of how it was made.";
  const titles = props.value.titles, said = [];
  const label = (name) => (titles[s.checkpoint] || {})[name] || name;
  if (s.made_by === "compare") return "Compared: " + [s.across, s.down].filter(Boolean).map((side) =>
    (SETTING[side.setting] || side.setting) + " " + side.values.map((value) => SAMPLER[value] || label(value)).join(", ")).join(" × ") + ".";
  if (s.made_by === "vary") said.push("a variation, " + s.how_far + " % far");
  if (s.made_by === "interpolate") said.push("number " + ((s.index ?? s.picture) + 1) + " of " + s.num_images + " from one image to another, " + s.how_far + " % far");
  if (s.class) said.push(label(s.class));
  said.push("seed " + s.seed);
  if (s.sampler) said.push(SAMPLER[s.sampler] || s.sampler);
  if (s.steps) said.push(s.steps + (s.steps === 1 ? " step" : " steps"));
  if (s.eta) said.push("eta " + s.eta);
  if (s.guidance_scale !== undefined && s.guidance_scale !== 1) said.push("guidance " + s.guidance_scale);
  if (s.guidance_interval) said.push("guided for t from " + (s.guidance_interval[0] + 1) + " to " + (s.guidance_interval[1] + 1));
  if (s.classifier_scale) said.push("classifier guidance " + s.classifier_scale);
  if (s.upsampler) said.push("enlarged by " + s.upsampler);
  said.push("model " + s.checkpoint);
  const text = said.join(", ");
  return text[0].toUpperCase() + text.slice(1) + ".";
}
