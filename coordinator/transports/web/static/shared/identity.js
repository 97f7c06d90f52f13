// Who uses the page: the access token, kept for as long as the tab lives, and what it says about its owner.
//
// The server alone judges tokens. What is read from one here only decides what is shown.

import { signal } from "/static/vendor/preact.js";

export class Identity {
  #key;

  // role: whose pages these are; tokens of different roles are kept apart.
  constructor(role) {
    this.#key = `coordinator.token.${role}`;
    this.role = role;
    this.current = signal(claimsOf(this.#stored())); // {token, userId, role, expiresAt}, or null
    this.hasExpired = signal(false); // whether somebody was signed in until the token ended
  }

  get token() {
    return this.current.value?.token ?? "";
  }

  get userId() {
    return this.current.value?.userId;
  }

  // Returns whether it looks like a token.
  take(token) {
    const claims = claimsOf(token);
    if (claims === null) {
      return false;
    }
    this.#store(token);
    this.hasExpired.value = false;
    this.current.value = claims;
    return true;
  }

  forget() {
    this.#store(null);
    this.current.value = null;
  }

  // The server takes the token no longer.
  expire() {
    this.forget();
    this.hasExpired.value = true;
  }

  #stored() {
    try {
      return sessionStorage.getItem(this.#key);
    } catch {
      return null;
    }
  }

  #store(token) {
    try {
      if (token === null) {
        sessionStorage.removeItem(this.#key);
      } else {
        sessionStorage.setItem(this.#key, token);
      }
    } catch {
      // The browser forbids the storage: a reload asks to sign in again.
    }
  }
}

// What a link carries: `#session=<id>&token=<jwt>`, in the part of an address that no browser sends to a server.
export function credentialsIn(address) {
  const fields = new URLSearchParams(address.slice(address.indexOf("#") + 1));
  return { session: fields.get("session") ?? "", token: fields.get("token") ?? "" };
}

function claimsOf(token) {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(payload), (char) => char.codePointAt(0));
    const { sub, role, exp } = JSON.parse(new TextDecoder().decode(bytes));
    return typeof sub === "string" ? { token, userId: sub, role, expiresAt: exp ? exp * 1000 : Infinity } : null;
  } catch {
    return null;
  }
}
