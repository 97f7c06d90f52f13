// The HTTP API, as the pages use it: JSON in and out, and every failure an ApiError with a code.

class ApiError extends Error {
  constructor({ code, message, status = 0, retryable = false, field }) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.status = status;
    this.retryable = retryable;
    this.field = field;
  }
}

export class Api {
  #token;

  // token: () => string, asked anew for each request.
  constructor(token) {
    this.#token = token;
  }

  // query: {name: value}; those without a value are left out. signal: to give up on it.
  get(path, query = {}, { signal } = {}) {
    const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
    const search = new URLSearchParams(given).toString();
    return this.#send("GET", search ? `${path}?${search}` : path, { signal });
  }

  post(path, body) {
    return this.#send("POST", path, { body, key: newKey() });
  }

  delete(path) {
    return this.#send("DELETE", path);
  }

  #send(method, path, { body, key, signal } = {}) {
    const headers = { Authorization: `Bearer ${this.#token()}` };
    if (key !== undefined) {
      headers["Idempotency-Key"] = key;
    }
    return send(method, `/api/v1${path}`, { headers, body, signal });
  }
}

// A request outside of the API's folder, without a token.
export function request(method, path, body) {
  return send(method, path, { body });
}

async function send(method, address, { headers = {}, body, signal }) {
  const options = { method, headers, signal };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (signal?.aborted) {
      throw error;
    }
    throw new ApiError({ code: "unreachable", message: String(error.message ?? error), retryable: true });
  }
  if (response.status === 204) {
    return undefined;
  }
  const content = await response.json().catch(() => ({}));
  if (response.ok) {
    return content;
  }
  const { code = "unknown", detail = response.statusText, retryable = response.status >= 500, field } = content;
  throw new ApiError({ code, message: detail, status: response.status, retryable, field });
}

// crypto.randomUUID is for secure origins only.
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
