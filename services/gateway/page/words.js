// Answers in sentences: what carries the first place, what would change it, and what to relax.
import { isMaximized, keptFigure, labelOf, limitText, nameOf, plain, unitOf } from "./metrics.js";
import { counted, dayText, lineText, listed } from "./names.js";

const MOST_ENDS = 3;
const percent = (share, decimals = 0) => `${(share * 100).toFixed(decimals)}%`;

/** A share of draws. No number of draws shows that something never happens. */
export function chanceText(share) {
  if (share < 0.005) return "less than 1%";
  return share > 0.995 ? "more than 99%" : percent(share);
}

/** A share of draws in the width of a table's cell. */
export const chanceShort = (share) => chanceText(share).replace("less than ", "<").replace("more than ", ">");

/** The decimals a score deserves: down to the first digit of its error, 1 to 3. */
export function scoreDecimals({ confidence }) {
  if (!confidence) return 3;
  const half = ((confidence.scoreHigh ?? 0) - (confidence.scoreLow ?? 0)) / 2;
  return half > 0 ? Math.min(Math.max(-Math.floor(Math.log10(half)), 1), 3) : 3;
}

export const scoreText = (item) => (item.score ?? 0).toFixed(scoreDecimals(item));

/** A relative change with its sign: `+25%`; tenfold or more is a factor. */
export function changeText(change, halfWidth) {
  if (change >= 9) return `×${Math.round(change + 1).toLocaleString("en-US")}`;
  const known = halfWidth ?? Math.abs(change);
  const text = percent(change, known > 0 && known < 0.005 ? 1 : 0);
  return change > 0 ? `+${text}` : text.replace("-", "−");
}

/** The price an alternative was counted with; "" if none is known. */
export function priceText({ price }) {
  if (!price) return "";
  const dollars = `$${(price.usdPerHour ?? 0).toFixed(2)}`;
  if (!price.validFromTime) return `Counted with ${dollars} an hour, as you asked.`;
  const option = (price.purchaseOption ?? "").replace("PURCHASE_OPTION_", "").toLowerCase().replace("_", " ");
  const region = price.region ? ` in ${price.region}` : "";
  return `Counted with ${dollars} an hour, ${option}${region}, valid from ${dayText(price.validFromTime)}: ${price.source}.`;
}

/** What would put another one first, the nearest first, and how sure the first place is. */
export function changeSentences(answer, places) {
  const [first] = answer.recommendations;
  return [...weightSentences(answer.stability ?? [], places), ...confidenceSentences(first, places)];
}

function weightSentences(stability, places) {
  const ends = stability.flatMap((item) => {
    const { weight = 0, minWeight = 0, maxWeight = 0 } = item;
    const below = item.winnerBelowConfigId;
    const above = item.winnerAboveConfigId;
    const label = labelOf(nameOf(item.metric));
    const found = [];
    if (below) found.push({ label, weight, end: minWeight, side: "less", winner: below });
    if (above) found.push({ label, weight, end: maxWeight, side: "more", winner: above });
    return found;
  });
  if (stability.length && !ends.length) {
    return ["No weight alone would: it stays first whatever each of them counts."];
  }
  ends.sort((one, other) => Math.abs(one.end - one.weight) - Math.abs(other.end - other.weight));
  return ends
    .slice(0, MOST_ENDS)
    .map(
      ({ label, weight, end, side, winner }) =>
        `If ${label} counted ${side} than ${weightEnd(end, weight)} (now ${percent(weight)}), ` +
        `${places.name(winner)} would be first.`,
    );
}

function weightEnd(end, weight) {
  const decimals = [0, 1].find((digits) => percent(end, digits) !== percent(weight, digits)) ?? 2;
  return percent(end, decimals);
}

/** How sure a place is, given how far the runs differ; none where the answer does not say. */
export function confidenceSentences({ confidence }, places) {
  if (!confidence) return [];
  const share = chanceText(confidence.bestProbability ?? 0);
  const sure = `Given how far runs differ, it is the best with a probability of ${share}`;
  const tied = confidence.tiedConfigIds ?? [];
  if (!tied.length) return [`${sure}; no other one shown is tied with it.`];
  return [`${sure}; its score cannot be told from that of ${listed(tied.map((id) => places.name(id)))}.`];
}

/** By what a configuration is dominated, and by how much; "" if by none. */
export function dominanceText(dominance, places) {
  if (!dominance) return "";
  const margins = (dominance.margins ?? [])
    .filter(({ margin = 0 }) => margin > 0)
    .map(({ metric, relativeMargin = 0 }) => {
      const share = relativeMargin < 0.005 ? "less than 1%" : percent(relativeMargin);
      return `${labelOf(nameOf(metric))} by ${share}`;
    });
  const where = margins.length ? ` (${margins.join(", ")})` : "";
  const better = places.name(dominance.configId, dominance.alternative);
  return `Behind the front: ${better} is as good or better in every criterion${where}.`;
}

/** How many instances carry the target rate; none where there is no target. */
export function replicaSentences({ replicas }) {
  if (!replicas) return [];
  const fleets = [
    ["By the rate of the median run", replicas.typical],
    ["By the worst run", replicas.safe],
  ];
  const sentences = fleets
    .filter(([, fleet]) => fleet)
    .map(([basis, fleet]) => {
      const cost = fleet.totalUsdPerHour === undefined ? "" : `, $${plain(fleet.totalUsdPerHour)} an hour`;
      return `${basis}: ${counted(fleet.replicaCount ?? 0, "instance")}${cost}, ${percent(fleet.utilization ?? 0)} used.`;
    });
  return [...sentences, ...(replicas.gaps ?? [])];
}

const EXCLUSIONS = {
  CRITERION_MISSING: (metric) => `${metric} was not measured`,
  LIMIT_MISSED: (metric) => `miss the limit on ${metric}`,
  LIMIT_UNCERTAIN: (metric) => `keep the limit on ${metric} in some runs only`,
  LIMIT_UNKNOWN: (metric) => `${metric}, which has a limit, was not measured`,
  OVER_BUDGET: () => "cost more than the budget",
  PRICE_UNKNOWN: () => "no price is known",
};

/** Why candidates were left out, without their number: `miss the limit on TTFT p99`. */
export function exclusionText({ reason = "", metric = "" }) {
  const sentence = EXCLUSIONS[reason.replace("EXCLUSION_REASON_", "")];
  return sentence ? sentence(labelOf(nameOf(metric))) : "for another reason";
}

/** Which limits to drop, and how many candidates that leaves. */
export function conflictText({ limits = [], remainingCount = 0 }) {
  const verb = remainingCount === 1 ? "is" : "are";
  return `Without ${listed(limits.map(limitText))}, ${counted(remainingCount, "candidate")} ${verb} left.`;
}

/** Who keeps one limit by itself. */
export const passText = ({ limit, passCount = 0, candidateCount = 0 }) =>
  `${limitText(limit)}: ${passCount.toLocaleString("en-US")} of ${counted(candidateCount, "candidate")}`;

/** A limit as it would have to be: `TTFT p90 ≤ 412 ms instead of 300 (37% more)`. */
export function relaxedText({ limit, actual = 0, relaxPct }) {
  const name = nameOf(limit.metric);
  const [sign, more] = isMaximized(name) ? ["≥", "less"] : ["≤", "more"];
  const needed = `${labelOf(name)} ${sign} ${plain(keptFigure(name, actual))} ${unitOf(name)}`.trim();
  const share = Number.isFinite(relaxPct) ? ` (${relaxPct < 1 ? "less than 1" : Math.round(relaxPct).toLocaleString("en-US")}% ${more})` : "";
  return `${needed} instead of ${plain(limit.limit ?? 0)}${share}`;
}

/** For whom the limits would be relaxed: `for Qwen3-8B fp8 on 1 × H100-80GB, vllm 0.11`. */
export const relaxationFor = ({ alternative }) => `for ${lineText(alternative)}`;
