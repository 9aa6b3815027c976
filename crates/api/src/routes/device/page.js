
"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const show = (id) => {
    for (const part of document.querySelectorAll("section")) part.hidden = part.id !== id;
  };
  const say = (text) => {
    at("said").textContent = text;
    at("said").hidden = !text;
  };
  const cookie = (name) => {
    const found = document.cookie.split("; ").find((pair) => pair.startsWith(name + "="));
    return found ? found.slice(name.length + 1) : "";
  };
  const ask = async (path, options) => {
    const answer = await fetch(path, {
      credentials: "same-origin",
      ...options,
      headers: { accept: "application/json", ...(options && options.headers) },
    });
    const body = await answer.json().catch(() => ({}));
    return { ok: answer.ok, status: answer.status, body };
  };
  const send = (path, body) =>
    ask(path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-csrf-token": cookie("csrf_token") },
      body: JSON.stringify(body),
    });
  const whoAmI = async () => {
    const first = await ask("me");
    if (first.status !== 401) return first;
    const renewed = await ask("refresh", { method: "POST" });
    return renewed.ok ? ask("me") : first;
  };

  let code = new URLSearchParams(location.search).get("user_code") || "";
  let me = "";

  const failed = (answer, form) => {
    if (answer.status === 401) {
      show("sign-in");
      say("Sign in again.");
      return;
    }
    show(form);
    say(answer.status === 404 ? "No program waits with this code. It may have expired." : answer.body.detail || "Try again.");
  };

  const look = async () => {
    show("wait");
    const found = await send("device/lookup", { user_code: code });
    if (!found.ok) return failed(found, "enter");
    say("");
    at("me").textContent = me;
    at("code").textContent = code.toUpperCase();
    at("client").textContent = found.body.client_id || "unknown";
    at("agent").textContent = found.body.user_agent || "unknown";
    at("address").textContent = found.body.ip_address || "unknown";
    at("time").textContent = new Date(found.body.created_at).toLocaleString();
    show("decide");
  };

  const begin = async () => {
    const found = await whoAmI();
    if (!found.ok) {
      show("sign-in");
      return false;
    }
    me = found.body.email;
    if (code) await look();
    else show("enter");
    return true;
  };

  const decide = async (approve) => {
    show("wait");
    const answer = await send("device/authorize", { user_code: code, approve });
    if (!answer.ok) return failed(answer, "enter");
    say("");
    at("outcome").textContent = approve
      ? "The program is signed in. You can close this page."
      : "The program was denied. You can close this page.";
    show("done");
  };

  const guarded = (work) => async (event) => {
    if (event) event.preventDefault();
    try {
      await work(event);
    } catch {
      say("The server cannot be reached. Try again.");
    }
  };

  at("sign-in").querySelector("form").addEventListener("submit", guarded(async (event) => {
    const form = event.target;
    const answer = await ask("login", { method: "POST", body: new URLSearchParams(new FormData(form)) });
    form.elements.password.value = "";
    if (!answer.ok) return say(answer.body.detail || "Sign-in failed.");
    say("");
    if (!(await begin())) say("Your account needs another step: sign in to Bifrost first, then open this page again.");
  }));
  at("enter").querySelector("form").addEventListener("submit", guarded(async (event) => {
    code = event.target.elements.user_code.value.trim();
    await look();
  }));
  at("approve").addEventListener("click", guarded(() => decide(true)));
  at("deny").addEventListener("click", guarded(() => decide(false)));
  guarded(begin)();
})();
