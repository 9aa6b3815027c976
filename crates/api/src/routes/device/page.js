  let code = (new URLSearchParams(location.search).get("user_code") || "").slice(0, 64);
  let me = "";
  let challenge = "";

  const whoAmI = async () => {
    const first = await ask("me");
    if (first.status !== 401) return first;
    const renewed = await ask("refresh", { method: "POST" });
    return renewed.ok ? ask("me") : first;
  };

  // The provider sends the browser back to this page, with the code.
  const leave = async (name) => {
    const place = location.pathname + (code ? "?" + new URLSearchParams({ user_code: code }) : "");
    const query = new URLSearchParams({ redirect_to: place });
    const begun = await ask("oauth/init/" + encodeURIComponent(name) + "?" + query);
    if (!begun.ok) return say(begun.body.detail || "The provider cannot be reached. Try again.");
    location.assign(begun.body.authorization_url);
  };

  const signIn = async (text) => {
    const found = await ask("status");
    const providers = (found.ok && found.body.oauth_providers) || [];
    at("providers").replaceChildren();
    for (const provider of providers) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Sign in with " + provider.display_name;
      button.addEventListener("click", guarded(() => leave(provider.name)));
      at("providers").append(button);
    }
    at("with-password").hidden = found.ok && !found.body.password_login_enabled;
    show("sign-in");
    say(text);
  };

  const failed = async (answer, form) => {
    if (answer.status === 401) return signIn("Sign in again.");
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
    if (!found.ok) return signIn(found.status === 401 ? "" : found.body.detail || "Try again.");
    me = found.body.email;
    if (code) await look();
    else show("enter");
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

  at("with-password").addEventListener("submit", guarded(async (event) => {
    const form = event.target;
    const answer = await ask("login", { method: "POST", body: new URLSearchParams(new FormData(form)) });
    form.elements.password.value = "";
    if (!answer.ok) return say(answer.body.detail || "Sign-in failed.");
    say("");
    if (!answer.body.mfa_required) return begin();
    if (answer.body.setup_required) {
      return say("Your account needs a second factor before you can sign in. Set one up in Bifrost, then open this page again.");
    }
    challenge = answer.body.mfa_token;
    show("factor");
  }));
  at("second").addEventListener("submit", guarded(async (event) => {
    const input = event.target.elements.factor_code;
    const answer = await send("mfa/login", { mfa_token: challenge, code: input.value.trim() });
    input.value = "";
    if (answer.ok) {
      say("");
      challenge = "";
      return begin();
    }
    const over = answer.status === 401 && answer.body.code !== "mfa_code_invalid";
    if (over) return signIn("That took too long, or too many codes were wrong. Sign in again.");
    say(answer.body.detail || "Try again.");
  }));
  at("with-code").addEventListener("submit", guarded(async (event) => {
    code = event.target.elements.user_code.value.trim();
    await look();
  }));
  at("approve").addEventListener("click", guarded(() => decide(true)));
  at("deny").addEventListener("click", guarded(() => decide(false)));
  guarded(begin)();
