// The door of the alerts.
export { type AlertRule, alertOf } from './decision.ts';
export { AlertDesk } from './desk.ts';
export {
  type Alert,
  type AlertOutcome,
  type AlertSender,
  type AlertStats,
  type AlertsConfig,
  DEFAULT_ALERTS_CONFIG,
} from './types.ts';
