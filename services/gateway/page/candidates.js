// Which configurations take part, as the controls say it and as the requests want it.
import { LIMITABLE, metricOf } from "./metrics.js";
import { get, isOn, list } from "./state.js";

/** Lists of names to keep: parameter → field of the filter, and what people call it. */
export const FILTERS = [
  { name: "model", field: "models", label: "Models" },
  { name: "quantization", field: "quantizations", label: "Quantizations" },
  { name: "gpu", field: "gpuTypes", label: "GPUs" },
  { name: "provider", field: "cloudProviders", label: "Providers" },
  { name: "framework", field: "frameworks", label: "Frameworks" },
  { name: "workload", field: "workloadTypes", label: "Workloads" },
];
export const PROVENANCES = ["measured", "simulated", "estimated"];

/** The use case that is ranked for. */
export const useCase = () => get("use_case");

/** The limits of the address, each metric once. */
export function limits() {
  return LIMITABLE.map((name) => ({ metric: metricOf(name), limit: Number(get(name)) })).filter(
    ({ limit }) => limit > 0 && Number.isFinite(limit),
  );
}

/** The weights of the address; none: the use case's. */
export function weights(metrics) {
  return metrics
    .map((name) => ({ metric: metricOf(name), weight: Number(get(`weight.${name}`)) }))
    .filter(({ metric, weight }) => metric && weight > 0 && Number.isFinite(weight));
}

/** A number above 0 of the address; undefined without one. */
export function positive(name) {
  const value = Number(get(name));
  return value > 0 && Number.isFinite(value) ? value : undefined;
}

/** The most to pay; undefined: no budget. A budget of 0 is one. */
export function budget() {
  const text = get("budget");
  const value = Number(text);
  return text !== "" && value >= 0 && Number.isFinite(value) ? value : undefined;
}

/** CandidateFilter of the address. */
export function candidateFilter() {
  const filter = {};
  for (const { name, field } of FILTERS) if (list(name).length) filter[field] = list(name);
  const kinds = list("provenance").filter((kind) => PROVENANCES.includes(kind));
  if (kinds.length) filter.provenances = kinds.map((kind) => `PROVENANCE_${kind.toUpperCase()}`);
  const gpus = positive("max_gpus");
  if (gpus) filter.maxGpuCount = Math.min(Math.ceil(gpus), 2 ** 31 - 1);
  return filter;
}

/** Whether the address leaves candidates out by anything but limits. */
export const isFiltered = () => Object.keys(candidateFilter()).length > 0;

/** Whether the use case's own limits count where the address names none. */
export const takesDefaultLimits = () => !isOn("no_default_limits");
