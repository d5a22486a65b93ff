// What a page does besides showing itself: takes what is dropped, says how much was sent, follows a job.
"use strict";

const SECONDS = 1;

function watchJob(section) {
  const ask = async () => {
    try {
      const answer = await fetch(section.dataset.watch, { headers: { Accept: "application/json" } });
      if (!answer.ok) return location.reload();
      const job = await answer.json();
      if (job.state !== "queued" && job.state !== "running") return location.reload();
      section.querySelector("[data-words]").textContent = job.words;
      section.querySelector("[data-doing]").textContent = job.doing ? `: ${job.doing}` : "";
      // Without a value it moves to and fro.
      if (job.share !== null) section.querySelector("progress").value = job.share;
    } catch {
      section.querySelector("[data-doing]").textContent = ": the server does not answer";
    }
    setTimeout(ask, SECONDS * 1000);
  };
  setTimeout(ask, SECONDS * 1000);
}

function watchJobs(table) {
  const open = () => [...table.querySelectorAll("[data-job]")].filter((row) => /queued|running/.test(row.dataset.state));
  const ask = async () => {
    if (open().length === 0) return;
    try {
      const jobs = await (await fetch("/jobs", { headers: { Accept: "application/json" } })).json();
      for (const row of open()) {
        const job = jobs.find((one) => one.id === row.dataset.job);
        if (!job || !/queued|running/.test(job.state)) return refreshTable(table);
        row.querySelector("[data-words]").textContent = job.words;
        const doing = row.querySelector("[data-doing]");
        if (doing) doing.textContent = job.doing;
      }
    } catch {
      // it is asked again
    }
    setTimeout(ask, 2 * SECONDS * 1000);
  };
  setTimeout(ask, 2 * SECONDS * 1000);
}

// Only the table is renewed: the form may be half filled in.
async function refreshTable(table) {
  const page = new DOMParser().parseFromString(await (await fetch("/", { headers: { Accept: "text/html" } })).text(), "text/html");
  const fresh = page.querySelector("[data-jobs]");
  if (!fresh) return;
  table.replaceWith(fresh);
  watchJobs(fresh);
}

async function filesOf(entry, path) {
  if (entry.isFile) {
    const file = await new Promise((done, failed) => entry.file(done, failed));
    return [{ file, path: `${path}${file.name}` }];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (some.length === 0) return found;
    for (const inner of some) found.push(...(await filesOf(inner, `${path}${entry.name}/`)));
  }
}

function enhanceForm(form) {
  const problem = form.querySelector("[data-problem]");
  const say = (text) => {
    problem.textContent = text;
    problem.hidden = !text;
  };
  let dropped = [];
  const shown = form.querySelector("[data-dropped]");
  const forget = () => {
    dropped = [];
    shown.hidden = true;
  };

  for (const field of form.querySelectorAll("[data-drop]")) {
    field.addEventListener("dragover", (event) => {
      event.preventDefault();
      field.classList.add("over");
    });
    field.addEventListener("dragleave", () => field.classList.remove("over"));
    field.addEventListener("drop", async (event) => {
      event.preventDefault();
      field.classList.remove("over");
      say("");
      const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
      const files = event.dataTransfer.files;
      if (field.dataset.drop === "file") {
        if (files.length !== 1 || entries[0]?.isDirectory) return say("Drop one weight file here.");
        form.elements.file.files = files;
      } else if (files.length === 1 && !entries[0]?.isDirectory && /\.(zip|npz)$/i.test(files[0].name)) {
        forget();
        form.elements.folder.value = "";
        form.elements.images.files = files;
      } else if (entries.length === 1 && entries[0].isDirectory) {
        form.elements.images.value = form.elements.folder.value = "";
        dropped = await filesOf(entries[0], "");
        shown.textContent = `${entries[0].name}: ${dropped.length} files`;
        shown.hidden = false;
      } else {
        say("Drop one folder of images, or one .zip or .npz, here.");
      }
    });
  }
  form.elements.folder.addEventListener("change", () => {
    forget();
    if (form.elements.folder.files.length) form.elements.images.value = "";
  });
  form.elements.images.addEventListener("change", () => {
    forget();
    if (form.elements.images.files.length) form.elements.folder.value = "";
  });

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    say("");
    const data = new FormData(form);
    const chosen = [...form.elements.folder.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
    data.delete("folder");
    for (const { file, path } of dropped.length ? dropped : chosen) data.append("folder", file, path);
    const files = [...data.values()].filter((value) => value instanceof File);
    const bytes = files.reduce((sum, file) => sum + file.size, 0);
    if (bytes > Number(form.dataset.maxBytes)) return say(`That is ${Math.round(bytes / 2 ** 20)} MB; the server takes ${Math.round(form.dataset.maxBytes / 2 ** 20)} MB.`);
    if (files.length > Number(form.dataset.maxFiles)) return say(`That is ${files.length} files; a few images of each class are enough.`);
    send(form, data, say);
  });
}

function send(form, data, say) {
  const sending = form.querySelector(".sending");
  const button = form.querySelector("button[type=submit]");
  const request = new XMLHttpRequest();
  const done = () => {
    sending.hidden = true;
    button.disabled = false;
  };
  request.upload.onprogress = (event) => {
    if (event.lengthComputable) sending.querySelector("progress").value = event.loaded / event.total;
  };
  request.onload = () => {
    done();
    if (request.status === 201) {
      location.assign(request.response.place);
    } else {
      say(request.response?.error ?? `The server answered ${request.status}.`);
    }
  };
  request.onerror = () => {
    done();
    say("The server does not answer, or took no more: is it running, and is the file small enough?");
  };
  request.onabort = done;
  sending.querySelector("[data-stop-sending]").onclick = () => request.abort();
  sending.hidden = false;
  button.disabled = true;
  request.open("POST", form.action);
  request.responseType = "json";
  request.setRequestHeader("Accept", "application/json");
  request.send(data);
}

for (const section of document.querySelectorAll("[data-watch]")) watchJob(section);
for (const table of document.querySelectorAll("[data-jobs]")) watchJobs(table);
for (const form of document.querySelectorAll("#scan")) enhanceForm(form);
for (const place of document.querySelectorAll("[data-origin]")) place.textContent = location.origin;
