// The built-in viewer: patients, their studies, series with thumbnails, a header, three planes.
// It requests /api/v1 and /dicomweb of its own server only. ?token=… is sent as a bearer token.
"use strict";

const address = new URL(location.href);
const token = address.searchParams.get("token") || sessionStorage.getItem("token");
if (address.searchParams.has("token")) {
  sessionStorage.setItem("token", token);
  address.searchParams.delete("token");
  history.replaceState(null, "", address);
}
const main = document.getElementById("main");
const trail = document.getElementById("trail");
let requests = 0;
let objectUrls = [];

function node(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value);
  }
  element.append(...children.map((child) => child ?? ""));
  return element;
}

async function get(path) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { headers });
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    throw new Error(problem.message || `${response.status} ${response.statusText}`);
  }
  document.getElementById("version").textContent = `version ${response.headers.get("X-Warehouse-Version")}`;
  return response;
}

async function picture(image, path) {
  try {
    const url = URL.createObjectURL(await (await get(path)).blob());
    objectUrls.push(url);
    image.src = url;
    await image.decode();
  } catch (error) {
    image.replaceWith(node("div", { class: "none" }, "no picture"));
  }
}

const part = encodeURIComponent;
const link = (...keys) => `#/${keys.map(part).join("/")}`;

function table(columns, rows, open) {
  const body = rows.map((row) => {
    const go = () => { location.hash = open(row); };
    const cells = columns.map(([name]) => {
      const value = Array.isArray(row[name]) ? row[name].join(", ") : row[name];
      return node("td", typeof value === "number" ? { class: "number" } : {}, value ?? "");
    });
    return node("tr", { tabindex: 0, onclick: go, onkeydown: (e) => e.key === "Enter" && go() }, ...cells);
  });
  const isNumber = (name) => rows.some((row) => typeof row[name] === "number");
  const head = node("tr", {}, ...columns.map(([name, title]) =>
    node("th", isNumber(name) ? { class: "number" } : {}, title)));
  return node("table", {}, node("thead", {}, head), node("tbody", {}, ...body));
}

function pages(page) {
  const go = (url) => () => { const p = new URL(url); list(p.pathname + p.search).catch(fail); };
  const buttons = node("div", { class: "more" }, `${page.count} in all`);
  if (page.previous) buttons.append(node("button", { onclick: go(page.previous) }, "Previous"));
  if (page.next) buttons.append(node("button", { onclick: go(page.next) }, "Next"));
  return buttons;
}

async function list(path) {
  const current = ++requests;
  const page = await (await get(path)).json();
  if (current !== requests) return;
  const columns = [["PatientID", "Patient ID"], ["PatientName", "Name"], ["PatientBirthDate", "Born"],
    ["PatientSex", "Sex"], ["study_count", "Studies"], ["latest_study_at", "Latest study"]];
  main.replaceChildren(table(columns, page.results, (row) => link(row.patient_key)), pages(page));
}

async function patient(key) {
  const page = await (await get(`/api/v1/studies?patient_key=${part(key)}&order=-study_at&limit=1000`)).json();
  const columns = [["StudyDate", "Date"], ["StudyDescription", "Study"], ["modalities", "Modalities"],
    ["AccessionNumber", "Accession"], ["series_count", "Series"], ["instance_count", "Instances"]];
  return [table(columns, page.results, (row) => link(key, row.study_key)),
    node("p", {}, node("a", { href: `/api/v1/patients/${part(key)}/files.zip` }, "All files as zip"))];
}

async function study(key, uid) {
  const page = await (await get(`/api/v1/series?study_key=${part(uid)}&order=SeriesNumber&limit=1000`)).json();
  const cards = page.results.map((row) => {
    const image = row.image_count ? node("img", { alt: "" }) : node("div", { class: "none" }, row.Modality ?? "–");
    if (row.image_count) picture(image, `/dicomweb/studies/${part(uid)}/series/${part(row.series_key)}/thumbnail`);
    return node("a", { href: link(key, uid, row.series_key), "data-series": row.series_key }, image,
      node("div", {}, `${row.SeriesNumber ?? ""} ${row.SeriesDescription ?? ""}`),
      node("small", {}, `${row.Modality ?? ""} · ${row.instance_count} instances`));
  });
  return [node("div", { class: "series" }, ...cards)];
}

async function series(key, uid, name) {
  const base = `/dicomweb/studies/${part(uid)}/series/${part(name)}`;
  const page = await (await get(`/api/v1/instances?series_key=${part(name)}&order=InstanceNumber&limit=1`)).json();
  const row = await (await get(`/api/v1/series/${part(name)}`)).json();
  const figures = node("div", { class: "look" });
  if (row.image_count) {
    const image = node("img", { alt: "a frame", id: "frame" });
    const count = Math.max(1, row.frame_count ?? row.image_count);
    const slider = node("input", { type: "range", min: 0, max: count - 1, value: Math.floor(count / 2), "aria-label": "Frame" });
    const caption = node("figcaption", {});
    const show = () => {
      caption.textContent = `frame ${Number(slider.value) + 1} of ${count}`;
      return picture(image, `/api/v1/series/${part(name)}/picture.png?slice=${slider.value}`);
    };
    slider.addEventListener("change", show);
    figures.append(node("figure", {}, image, slider, caption));
    show();
    const planes = node("img", { alt: "three planes", id: "planes" });
    figures.append(node("figure", {}, planes));
    picture(planes, `/api/v1/series/${part(name)}/planes.png`);
  }
  const header = node("table", { id: "header" });
  if (page.results.length) {
    const lines = await (await get(`/api/v1/instances/${part(page.results[0].instance_key)}/header`)).json();
    header.append(...lines.map((line) => node("tr", {}, node("td", {}, node("code", {}, line.tag)),
      node("td", {}, line.keyword), node("td", {}, line.vr), node("td", { class: "value" }, line.value))));
  }
  return [figures, node("p", {}, node("a", { href: `/api/v1/series/${part(name)}/files.zip` }, "Files as zip"), " ",
    node("a", { href: `/api/v1/series/${part(name)}/volume.nii.gz` }, "NIfTI"), " ",
    node("a", { href: `${base}/metadata` }, "DICOM JSON")), header];
}

function fail(error) {
  main.replaceChildren(node("p", { class: "error" }, error.message));
}

async function route() {
  const keys = location.hash.replace(/^#\/?/, "").split("/").filter(Boolean).map(decodeURIComponent);
  const current = ++requests;
  const titles = ["Patient", "Study", "Series"];
  trail.replaceChildren(node("a", { href: "#/" }, "Patients"),
    ...keys.map((key, n) => node("a", { href: link(...keys.slice(0, n + 1)) }, `${titles[n]} ${key}`)));
  objectUrls.forEach(URL.revokeObjectURL);
  objectUrls = [];
  try {
    if (!keys.length) return await list("/api/v1/patients?order=-latest_study_at");
    const elements = await [patient, study, series][Math.min(keys.length, 3) - 1](...keys);
    if (current === requests) main.replaceChildren(...elements);
  } catch (error) {
    if (current === requests) fail(error);
  }
  document.body.dataset.ready = String(current);
}

document.getElementById("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = new FormData(event.target).get("text");
  list(`/api/v1/patients?order=-latest_study_at${text ? `&search=${part(text)}` : ""}`).catch(fail);
});
addEventListener("hashchange", route);
route();
