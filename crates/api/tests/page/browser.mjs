// A browser, as far as our pages need one: it loads a page, holds its policy against its script, runs the script and does what it is told.
//
// One JSON on standard input: `server` (host:port), `origin` (what the browser believes), `url` (path and query), `cookies`, `steps`: each
// `{wait: section}`, `{fill: {name: value}, submit: id}` or `{click: id or text}`. One JSON on standard output: the section that is
// shown, the texts by id, the buttons, where the page sent the browser (or null), the address, the cookies.

import { createHash } from 'node:crypto';
import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import vm from 'node:vm';

const { server, origin, url, cookies: jar, steps } = JSON.parse(await text(process.stdin));
const [hostname, port] = server.split(':');
const address = new URL(url, origin);
let went = null;

const sent = (path) => Object.entries(jar)
  .filter(([, one]) => path === one.path || path.startsWith(one.path.endsWith('/') ? one.path : `${one.path}/`))
  .map(([name, one]) => [name, one]);

const send = (method, target, headers, body) => new Promise((resolve, reject) => {
  const cookie = sent(target.pathname).map(([name, one]) => `${name}=${one.value}`).join('; ');
  const asked = request({
    hostname, port, method, path: target.pathname + target.search,
    headers: { ...headers, host: new URL(origin).host, ...(cookie && { cookie }), 'user-agent': 'test browser' },
  }, async (answer) => {
    for (const line of answer.headers['set-cookie'] ?? []) {
      const [pair, ...attributes] = line.split('; ');
      const [name, value] = [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)];
      const path = attributes.find((one) => one.startsWith('Path='))?.slice(5) ?? '/';
      if (attributes.includes('Max-Age=0')) delete jar[name];
      else jar[name] = { value, path, httpOnly: attributes.includes('HttpOnly') };
    }
    resolve({ status: answer.statusCode, headers: answer.headers, body: await text(answer) });
  });
  asked.on('error', reject);
  asked.end(body);
});

class Element {
  constructor(tag, attributes = {}) {
    this.tag = tag;
    this.attributes = attributes;
    this.id = attributes.id ?? '';
    this.hidden = 'hidden' in attributes;
    this.value = '';
    this.children = [];
    this.listeners = {};
  }
  all() { return this.children.filter((one) => one instanceof Element).flatMap((one) => [one, ...one.all()]); }
  querySelectorAll(tag) { return this.all().filter((one) => one.tag === tag); }
  querySelector(tag) { return this.querySelectorAll(tag)[0] ?? null; }
  get elements() {
    return Object.fromEntries(this.querySelectorAll('input').map((one) => [one.attributes.name, one]));
  }
  get textContent() { return this.children.map((one) => one.textContent ?? one).join(''); }
  set textContent(value) { this.children = [String(value)]; }
  append(...more) { this.children.push(...more); }
  replaceChildren(...more) { this.children = more; }
  addEventListener(type, listener) { (this.listeners[type] ??= []).push(listener); }
  async fire(type) {
    if (!this.listeners[type]) throw new Error(`nothing listens for ${type} of ${this.tag} ${this.id}`);
    const event = { target: this, preventDefault() {} };
    await Promise.all(this.listeners[type].map((listener) => listener(event)));
  }
}

const parse = (html) => {
  const open = [new Element('document')];
  for (const [, close, tag, attributes, words] of html.matchAll(/<(\/?)([a-z0-9]+)((?:\s+[a-z-]+(?:="[^"]*")?)*)\s*>|([^<]+)/g)) {
    if (words !== undefined) open.at(-1).append(words);
    else if (close) open.pop();
    else {
      const named = [...attributes.matchAll(/([a-z-]+)(?:="([^"]*)")?/g)].map(([, name, value]) => [name, value ?? '']);
      const element = new Element(tag, Object.fromEntries(named));
      open.at(-1).append(element);
      if (!['input', 'meta', 'br'].includes(tag)) open.push(element);
    }
  }
  return open[0];
};

const page = await send('GET', address, { accept: 'text/html' });
if (page.status !== 200) throw new Error(`${page.status}: ${page.body}`);
const [, script] = page.body.match(/<script>([^]*?)<\/script>/);
const policy = page.headers['content-security-policy'];
const hash = `script-src 'sha256-${createHash('sha256').update(script).digest('base64')}'`;
if (!policy.includes(`${hash};`) || !policy.includes("connect-src 'self'")) throw new Error(`not allowed by ${policy}`);
const tree = parse(page.body.replace(/<!doctype html>|<(script|style)>[^]*?<\/\1>/g, ''));
const named = (id) => tree.all().find((one) => one.id === id) ?? null;

const location = {
  get href() { return address.href; },
  get origin() { return address.origin; },
  get pathname() { return address.pathname; },
  get search() { return address.search; },
  assign(place) { went = new URL(place, address).href; },
  replace(place) { went = new URL(place, address).href; },
};
const context = vm.createContext({
  URL, URLSearchParams, location,
  history: { replaceState(_, __, place) { address.href = new URL(place, address).href; } },
  document: {
    getElementById: named,
    querySelectorAll: (tag) => tree.querySelectorAll(tag),
    createElement: (tag) => new Element(tag),
    get cookie() {
      return sent(address.pathname).filter(([, one]) => !one.httpOnly).map(([name, one]) => `${name}=${one.value}`).join('; ');
    },
  },
  FormData: class {
    constructor(form) { this.form = form; }
    *[Symbol.iterator]() { for (const [name, one] of Object.entries(this.form.elements)) yield [name, one.value]; }
  },
  async fetch(path, { method = 'GET', headers = {}, body } = {}) {
    const target = new URL(path, address);
    if (target.origin !== address.origin) throw new Error(`${target} is elsewhere`);
    const form = body instanceof URLSearchParams && { 'content-type': 'application/x-www-form-urlencoded' };
    const own = method === 'GET' ? {} : { origin };
    const answer = await send(method, target, { ...form, ...headers, ...own, 'sec-fetch-site': 'same-origin' }, body?.toString());
    return { ok: answer.status < 300, status: answer.status, json: async () => JSON.parse(answer.body) };
  },
});
vm.runInContext(script, context, { filename: address.pathname });

const shown = () => tree.querySelectorAll('section').find((one) => !one.hidden)?.id ?? '';
const until = async (what, holds) => {
  for (const end = Date.now() + 30_000; !holds();) {
    if (Date.now() > end) throw new Error(`not in time: ${what}; shown is ${shown()}: ${named('said').textContent}`);
    await new Promise((resolve) => { setTimeout(resolve, 10); });
  }
};
for (const step of steps) {
  if (step.wait) await until(step.wait, () => shown() === step.wait);
  for (const [name, value] of Object.entries(step.fill ?? {})) {
    tree.all().find((one) => one.attributes.name === name).value = value;
  }
  if (step.submit) await named(step.submit).fire('submit');
  if (step.click) await (named(step.click) ?? tree.querySelectorAll('button').find((one) => one.textContent === step.click)).fire('click');
  if (step.leave) await until('the page is left', () => went !== null);
}
const texts = Object.fromEntries(tree.all().filter((one) => one.id && !one.hidden).map((one) => [one.id, one.textContent]));
const buttons = tree.querySelectorAll('button').map((one) => one.textContent);
process.stdout.write(JSON.stringify({ section: shown(), texts, buttons, went, url: address.pathname + address.search, cookies: jar }));
