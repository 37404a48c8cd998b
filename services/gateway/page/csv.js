// What is shown, as a file.

const cell = (value) => {
  const text = String(value ?? "");
  // A leading sign makes spreadsheets calculate; names from outside must not.
  const safe = /^[=+@\t\r-]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};

/** Comma-separated lines, the head first, as RFC 4180 has them. */
export const csvText = (head, rows) => [head, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";

/** Saves a blob under a name. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Saves a table under a name. */
export const saveCsv = (name, head, rows) => save(new Blob([csvText(head, rows)], { type: "text/csv;charset=utf-8" }), name);

/** Columns of what a configuration is, for every export. */
export const ALTERNATIVE_HEAD = [
  "config_id", "model", "model_version", "quantization", "gpu_count", "gpu_type", "hardware", "cloud_provider",
  "framework", "framework_version", "workload_type", "input_tokens", "output_tokens", "concurrency", "request_rate",
  "provenance", "run_count",
];

/** The values of those columns. */
export const alternativeRow = (item) => [
  item.configId, item.model, item.modelVersion, item.quantization, item.gpuCount, item.gpuType, item.hardware,
  item.cloudProvider, item.framework, item.frameworkVersion, item.workloadType, item.inputTokens, item.outputTokens,
  item.concurrency, item.requestRate, (item.provenance ?? "").replace("PROVENANCE_", "").toLowerCase(), item.runCount,
];
