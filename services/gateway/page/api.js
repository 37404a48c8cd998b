// Calls of the services, as Connect's protocol has them: JSON over POST.

/** A call that failed: Connect's code, a sentence for people, the contract's reason, and wrong fields. */
export class CallError extends Error {
  constructor(code, message, details = []) {
    super(message || "The server did not say what went wrong.");
    this.code = code;
    const infos = details.map((detail) => detail.debug ?? {});
    this.reason = infos.map((info) => info.reason).find(Boolean) ?? "";
    this.fields = infos.flatMap((info) => info.fieldViolations ?? []);
  }

  /** Whether signing in would help. */
  get needsKey() {
    return this.code === "unauthenticated";
  }
}

const PREFIX = 5;
const END_OF_STREAM = 2;

/** The answer of a method such as `ranking.v1.RankingService/Recommend`. Raises CallError. */
export async function call(method, request, signal) {
  const response = await post(method, "application/json", JSON.stringify(request), signal);
  return response.json();
}

/** All messages of a method that streams its answer. Raises CallError. */
export async function callStream(method, request, signal) {
  const message = new TextEncoder().encode(JSON.stringify(request));
  const body = new Uint8Array(PREFIX + message.length);
  new DataView(body.buffer).setUint32(1, message.length);
  body.set(message, PREFIX);
  const response = await post(method, "application/connect+json", body, signal);
  return messages(await response.arrayBuffer());
}

async function post(method, type, body, signal) {
  let response;
  try {
    response = await fetch(`/servemark.${method}`, {
      method: "POST",
      headers: { "Content-Type": type, "Connect-Protocol-Version": "1" },
      body,
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new CallError("unavailable", "The server cannot be reached.");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new CallError(problem.code ?? "unknown", problem.message, problem.details);
}

function messages(buffer) {
  const view = new DataView(buffer);
  const found = [];
  for (let at = 0; at + PREFIX <= buffer.byteLength; ) {
    const flags = view.getUint8(at);
    const length = view.getUint32(at + 1);
    const bytes = new Uint8Array(buffer, at + PREFIX, length);
    const message = JSON.parse(new TextDecoder().decode(bytes) || "{}");
    at += PREFIX + length;
    if (!(flags & END_OF_STREAM)) {
      found.push(message);
    } else if (message.error) {
      throw new CallError(message.error.code, message.error.message, message.error.details);
    } else {
      return found;
    }
  }
  throw new CallError("unavailable", "The answer broke off.");
}

/** Makes calls of which only the latest counts: a new one ends the one before. */
export function latest() {
  let controller = new AbortController();
  return () => {
    controller.abort();
    controller = new AbortController();
    return controller.signal;
  };
}
