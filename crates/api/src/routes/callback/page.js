  // What the provider sent is in the address; nothing of it is ever written into the page.
  const sent = new URLSearchParams(location.search);

  const fail = (text) => {
    show("failed");
    say(text);
  };

  // The server checked the place; this page still goes nowhere but to this server.
  const own = (place) => {
    if (typeof place !== "string" || !/^\/(?![/\\])/.test(place)) return "";
    const url = new URL(place, location.origin);
    return url.origin === location.origin ? url.href : "";
  };

  const finish = async () => {
    if (sent.has("error")) {
      return fail(
        sent.get("error") === "access_denied"
          ? "The sign-in was cancelled at the provider."
          : "The provider refused the sign-in. If that happens again, ask your administrator.",
      );
    }
    const body = { code: sent.get("code"), state: sent.get("state"), provider: decodeURIComponent(location.pathname.split("/").pop()) };
    if (sent.has("iss")) body.iss = sent.get("iss");
    if (!body.code || !body.state) return fail("There is no sign-in to finish here.");
    const answer = await send("../oauth/callback", body);
    // It was used up: neither the history nor a reload has a use for it.
    history.replaceState(null, "", location.pathname);
    if (!answer.ok) return fail(answer.body.detail || "The sign-in failed.");
    const place = own(answer.body.redirect_to);
    if (place) return location.replace(place);
    at("outcome").textContent = answer.body.linked
      ? "The account is linked. You can close this page."
      : "You are signed in. You can close this page.";
    show("done");
  };

  guarded(finish)();
