// What configurations are called.
import { figure } from "./metrics.js";

/** `8 × H200-141GB`. */
export const gpusText = ({ gpuCount = 1, gpuType = "" }) => `${gpuCount} × ${gpuType}`;

/** `openai/gpt-oss-120b mxfp4`. */
export const modelText = ({ model = "", quantization = "" }) => `${model} ${quantization}`.trim();

/** `sglang 0.5.1`. */
export const frameworkText = ({ framework = "", frameworkVersion = "" }) => `${framework} ${frameworkVersion}`.trim();

/** An alternative in a line: weights, GPUs, framework. */
export const lineText = (alternative) =>
  `${modelText(alternative)} on ${gpusText(alternative)}, ${frameworkText(alternative)}`;

/** The operating point: lengths, requests in flight, rate, runs. */
export function loadText(alternative) {
  const { inputTokens, outputTokens, concurrency, requestRate, estimate, runCount } = alternative;
  const parts = [workText({ inputTokens, outputTokens, concurrency, requestRate })].filter(Boolean);
  if (estimate) parts.push("estimated");
  else if (runCount !== undefined) parts.push(counted(Number(runCount), "run"));
  return parts.join(", ");
}

/** `128/682 tokens, 64 in flight`; "" if nothing of it is known. */
export function workText({ inputTokens, outputTokens, concurrency, requestRate }) {
  const parts = [];
  if (inputTokens !== undefined || outputTokens !== undefined) {
    parts.push(`${inputTokens ?? "?"}/${outputTokens ?? "?"} tokens`);
  }
  if (concurrency !== undefined) parts.push(`${concurrency} in flight`);
  if (requestRate !== undefined) parts.push(`${figure(requestRate)} req/s sent`);
  return parts.join(", ");
}

const PARALLEL = [
  ["TP", "tensor"],
  ["PP", "pipeline"],
  ["DP", "data"],
  ["EP", "expert"],
];

/** `TP 8, EP 8`; "" if it is not known. Takes `{tensor, pipeline, data, expert}`. */
export function parallelText(parallelism = {}) {
  return PARALLEL.filter(([, kind]) => parallelism[kind] > 0)
    .map(([short, kind]) => `${short} ${parallelism[kind]}`)
    .join(", ");
}

/** `PROVENANCE_MEASURED` → `measured`. */
export const provenanceText = (provenance = "") => provenance.replace("PROVENANCE_", "").toLowerCase();

/** `1 run`, `1,234 runs`. */
export const counted = (count, noun) => `${count.toLocaleString("en-US")} ${noun}${count === 1 ? "" : "s"}`;

/** `a, b and c`. */
export function listed(names) {
  const most = names.slice(0, -1);
  return most.length ? `${most.join(", ")} and ${names.at(-1)}` : (names[0] ?? "");
}

/** The day of a timestamp: `2026-04-03`. */
export const dayText = (time = "") => time.slice(0, 10);

/** A timestamp to the minute, in UTC: `2026-04-03 12:30`. */
export const minuteText = (time = "") => time.slice(0, 16).replace("T", " ");

/** Names for the configurations of an answer: `#2`, what it is, or else its id. */
export class Places {
  #names = new Map();

  constructor(recommendations) {
    const ranks = recommendations.map((item) => item.rank);
    for (const { rank, alternative } of recommendations) {
      // Those that share a place cannot be told apart by it.
      const shared = ranks.indexOf(rank) !== ranks.lastIndexOf(rank);
      this.#names.set(alternative.configId, shared ? lineText(alternative) : `#${rank}`);
    }
  }

  name(configId, alternative) {
    return this.#names.get(configId) ?? (alternative ? lineText(alternative) : `configuration ${configId}`);
  }
}
