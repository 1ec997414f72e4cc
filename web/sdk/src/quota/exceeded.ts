/** The error for a full origin, which tells what was freed in vain. */
import { StatikError } from '../errors.js';
import type { ErrorShape } from '../types.js';
import type { Freed, QuotaEstimate } from './types.js';

/** There is no room, although all that could be pruned was. `code` is `Quota`. */
export class StorageQuotaExceeded extends StatikError {
  /** By the name of the pruner. */
  readonly freed: Freed;
  /** Of the whole origin, after pruning, as the browser estimates it. */
  declare readonly usageBytes?: number;
  declare readonly quotaBytes?: number;

  constructor(message: string, freed: Freed, { usageBytes, quotaBytes }: QuotaEstimate, options?: ErrorOptions) {
    super({ code: 'Quota', message }, options);
    this.name = 'StorageQuotaExceeded';
    this.freed = freed;
    if (usageBytes !== undefined) this.usageBytes = usageBytes;
    if (quotaBytes !== undefined) this.quotaBytes = quotaBytes;
  }

  override toJSON(): ErrorShape & QuotaEstimate & { freed: Freed } {
    const { freed, usageBytes, quotaBytes } = this;
    return { ...super.toJSON(), freed, ...(usageBytes !== undefined && { usageBytes }), ...(quotaBytes !== undefined && { quotaBytes }) };
  }
}
