// What the catalog knows: use cases, and the names that can be filtered by. Asked once, then remembered.
import { call } from "./api.js";

const remembered = new Map();

function once(key, ask) {
  if (!remembered.has(key)) {
    const answer = ask();
    remembered.set(key, answer);
    answer.catch(() => remembered.delete(key));
  }
  return remembered.get(key);
}

/** Forgets everything: another reader may see other things. */
export const forget = () => remembered.clear();

const listAll = (method, field) =>
  once(method, async () => (await call(`catalog.v1.CatalogService/${method}`, { pageSize: 1000 }))[field] ?? []);

/** All use cases, by name. */
export const useCases = () => listAll("ListUseCases", "useCases");

const distinct = (values) => [...new Set(values.filter(Boolean))].sort((one, other) => one.localeCompare(other));

/** What each filter can be set to. */
export const FILTER_OPTIONS = {
  model: async () => distinct((await listAll("ListModels", "models")).map((item) => item.name)),
  quantization: async () =>
    distinct((await listAll("ListModelVersions", "modelVersions")).map((item) => item.quantization)),
  gpu: async () => distinct((await listAll("ListHardwareConfigs", "hardwareConfigs")).map((item) => item.gpuType)),
  provider: async () =>
    distinct((await listAll("ListHardwareConfigs", "hardwareConfigs")).map((item) => item.cloudProvider)),
  framework: async () =>
    distinct((await listAll("ListInferenceFrameworks", "inferenceFrameworks")).map((item) => item.name)),
  workload: async () => [],
};

const BATCHES = {
  modelVersionId: ["BatchGetModelVersions", "modelVersions"],
  hardwareConfigId: ["BatchGetHardwareConfigs", "hardwareConfigs"],
  frameworkId: ["BatchGetInferenceFrameworks", "inferenceFrameworks"],
};

/** Names and versions behind the ids of a BenchmarkConfig, in the fields of an Alternative. */
export async function describe(config) {
  const [version, hardware, framework] = await Promise.all(
    Object.entries(BATCHES).map(([field, [method, answers]]) =>
      once(`${method} ${config[field]}`, async () => {
        const answer = await call(`catalog.v1.CatalogService/${method}`, { ids: [config[field]] });
        return answer[answers]?.[0] ?? {};
      }),
    ),
  );
  return {
    configId: config.id,
    modelId: config.modelId,
    model: version.modelName ?? config.modelId,
    modelVersion: version.version,
    quantization: version.quantization,
    format: version.format,
    artifactUri: version.artifactUri,
    hardware: hardware.name ?? config.hardwareConfigId,
    gpuType: hardware.gpuType,
    gpuCount: hardware.gpuCount,
    cloudProvider: hardware.cloudProvider,
    framework: framework.name ?? config.frameworkId,
    frameworkVersion: framework.version,
    provenance: config.provenance,
    ...config.workload,
  };
}
