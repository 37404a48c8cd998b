// Who was left out, and why: a group for each reason, its members fetched when it is opened.
import { call } from "../api.js";
import { h, replace } from "../dom.js";
import { alternativeName, waiting } from "../parts.js";
import { exclusionText } from "../words.js";

const MOST_LISTED = 1000;
const PAGE = 25;

/** The groups of an answer; nothing if nobody was left out. */
export function excludedSection(answer, request) {
  const { candidateCount = 0, rankedCount = 0, exclusionCounts = [] } = answer;
  if (!exclusionCounts.length) return null;
  let listing = null;
  const members = () => {
    // One answer serves all groups. What it ranks is on the page already.
    listing ??= call("ranking.v1.RankingService/Recommend", {
      ...request,
      maxResults: 1,
      maxExcluded: MOST_LISTED,
      answers: { infeasible: false, dominance: false, contributions: false, stability: false },
    }).then(({ excluded = [] }) => ({ excluded, isComplete: excluded.length === candidateCount - rankedCount }));
    listing.catch(() => {
      listing = null;
    });
    return listing;
  };
  return h(
    "section",
    { class: "excluded", "aria-labelledby": "excluded-title" },
    h(
      "div",
      { class: "section-head" },
      h("h2", { id: "excluded-title" }, "Left out"),
      h("span", { class: "muted" }, `${(candidateCount - rankedCount).toLocaleString("en-US")} of ${candidateCount.toLocaleString("en-US")} candidates, some for several reasons`),
    ),
    byReason(exclusionCounts).map(([reason, counts]) => groupPart(reason, counts, members)),
  );
}

/** The counts of each reason, the one that leaves most out first. */
function byReason(exclusionCounts) {
  const groups = new Map();
  for (const count of [...exclusionCounts].sort((one, other) => other.count - one.count)) {
    groups.set(count.reason, [...(groups.get(count.reason) ?? []), count]);
  }
  return [...groups];
}

function groupPart(reason, counts, members) {
  const body = h("div", { class: "folded-body" });
  let opened = false;
  const open = async (event) => {
    if (!event.target.open || opened) return;
    opened = true;
    replace(body, waiting());
    try {
      const { excluded, isComplete } = await members();
      listMembers(body, excluded.filter(({ reasons = [] }) => reasons.includes(reason)), reason, isComplete);
    } catch (error) {
      opened = false;
      replace(body, h("p", { class: "wrong" }, error.message, " Close and open this to try again."));
    }
  };
  return h(
    "details",
    { class: "folded group", ontoggle: open },
    h("summary", {}, h("ul", {}, counts.map((count) => h("li", {}, h("span", { class: "count" }, count.count.toLocaleString("en-US")), exclusionText(count))))),
    body,
  );
}

function listMembers(body, members, reason, isComplete, shown = PAGE) {
  const rest = members.length - shown;
  const why = ({ reasons = [], details = [] }) => details[reasons.indexOf(reason)];
  replace(
    body,
    h("ul", { class: "members" }, members.slice(0, shown).map((item) => h("li", {}, alternativeName(item.alternative), h("p", {}, why(item))))),
    rest > 0 &&
      h("button", { type: "button", class: "quiet", onclick: () => listMembers(body, members, reason, isComplete, shown + PAGE) }, `Show ${Math.min(rest, PAGE)} more`),
    !isComplete && h("p", { class: "hint" }, `Of those left out, ${MOST_LISTED.toLocaleString("en-US")} are listed; narrow the filters to see others.`),
  );
}
