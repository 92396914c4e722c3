"""Categories of wallet lines: what a movement is for, as the wallet's owner reads it."""

TOP_UP = "TOP_UP"
ORDER_PAYMENT = "ORDER_PAYMENT"
ORDER_EARNINGS = "ORDER_EARNINGS"
CASH_COLLECTED = "CASH_COLLECTED"
CASH_HANDED_IN = "CASH_HANDED_IN"
# What a customer paid too much, or too little, in cash.
CASH_OVERPAID = "CASH_OVERPAID"
CASH_SHORTAGE = "CASH_SHORTAGE"
CANCELLATION_FEE = "CANCELLATION_FEE"
COMMISSION = "COMMISSION"
DISCOUNT = "DISCOUNT"
REFUND = "REFUND"
TIP = "TIP"
NETTING = "NETTING"
ADJUSTMENT = "ADJUSTMENT"
PAYOUT = "PAYOUT"
PAYOUT_RETURNED = "PAYOUT_RETURNED"
# Not PAYOUT: it is taken from what may be spent, since nothing is held for it any more.
PAYOUT_PAID_LATE = "PAYOUT_PAID_LATE"
# Movements that count as earnings.
EARNING_CATEGORIES = frozenset({ORDER_EARNINGS, TIP, CANCELLATION_FEE})
