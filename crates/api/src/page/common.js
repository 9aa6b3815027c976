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
  const guarded = (work) => async (event) => {
    if (event) event.preventDefault();
    try {
      await work(event);
    } catch {
      say("The server cannot be reached. Try again.");
    }
  };

