// What is wider than its place can be scrolled by keys too, and the contents' headings have a level.
document.addEventListener("DOMContentLoaded", () => {
  for (const box of document.querySelectorAll("pre, .table-wrapper")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }
  for (const caption of document.querySelectorAll(".caption[role=heading]")) caption.ariaLevel = "2";
});
