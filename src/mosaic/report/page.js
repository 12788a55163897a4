// The edges' filter, and kernels that open when the picture's boxes are followed to them.
const filter = document.querySelector(".filter");
if (filter) {
  const rows = [...document.querySelectorAll("table.edges tbody tr")];
  filter.addEventListener("input", () => {
    const kinds = new Set([...filter.querySelectorAll("input[type=checkbox]:checked")].map((box) => box.value));
    const text = filter.querySelector("input[type=search]").value.toLowerCase();
    for (const row of rows) row.hidden = !kinds.has(row.dataset.how) || !row.textContent.toLowerCase().includes(text);
  });
}
const open = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target && target.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
};
addEventListener("hashchange", open);
open();
