/** The processor time of a browser, all its processes together: what other work on the machine hardly changes. */
import { readdirSync, readFileSync } from 'node:fs';

const TICK_MS = 10;
const [PROCESS_GROUP, USER_TICKS, SYSTEM_TICKS] = [2, 11, 12];

/** By process, in milliseconds; empty where the system has no /proc. @param {number} group */
export function processorMs(group) {
  const times = new Map();
  for (const process of entries('/proc')) {
    const stat = /^\d+$/.test(process) ? statOf(process) : undefined;
    if (Number(stat?.[PROCESS_GROUP]) === group) times.set(process, (Number(stat[USER_TICKS]) + Number(stat[SYSTEM_TICKS])) * TICK_MS);
  }
  return times;
}

/** What was used from one to the other by those that still ran; undefined if that is unknown. */
export function spentMs(before, after) {
  if (after.size === 0) return undefined;
  return [...after].reduce((sum, [process, ms]) => sum + ms - (before.get(process) ?? 0), 0);
}

function entries(folder) {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (error.code === 'ENOENT') return [];
    throw error;
  }
}

/** The fields behind the name, which may have any character. */
function statOf(process) {
  try {
    const text = readFileSync(`/proc/${process}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch (error) {
    // It has ended meanwhile.
    if (['ENOENT', 'ESRCH'].includes(error.code)) return undefined;
    throw error;
  }
}
