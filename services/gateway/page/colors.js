// The same colour for the same framework, GPU or quantization everywhere.

// Eight hues told apart by people with any colour vision, for light and for dark ground.
const LIGHT = ["#0b6bcb", "#c2410c", "#0f7b5f", "#8a3ffc", "#b0186c", "#7a5c00", "#1192a8", "#525a66"];
const DARK = ["#6cb2ff", "#ff9b6a", "#4fd1a5", "#b99bff", "#ff8bc4", "#e3c04d", "#5fd3e6", "#aab2bd"];
const SLOTS = {
  vllm: 0,
  sglang: 1,
  "tensorrt-llm": 2,
  trtllm: 2,
  tgi: 3,
  lmdeploy: 4,
  "llama.cpp": 5,
  h100: 0,
  h200: 1,
  b200: 2,
  gb200: 6,
  mi300x: 3,
  mi325x: 4,
  mi355x: 5,
  a100: 7,
};

const isDark = () => document.documentElement.dataset.theme === "dark";

function slot(name) {
  const key = name.toLowerCase();
  const known = SLOTS[key] ?? SLOTS[key.split("-")[0]];
  if (known !== undefined) return known;
  let sum = 0;
  for (const letter of key) sum = (sum * 31 + letter.codePointAt(0)) % 4093;
  return sum % LIGHT.length;
}

/** A name's colour on the ground that is shown now. */
export const colorOf = (name) => (isDark() ? DARK : LIGHT)[slot(name)];

/** The class of a name's dot, which follows the ground by itself. */
export const dotClass = (name) => `dot dot-${slot(name)}`;
