// SPDX-License-Identifier: GPL-2.0
// For tests: powercap zones with the names of Intel's RAPL, fed with a power that is set at run time.
//
//   echo 12000000 > /sys/module/fakerapl/parameters/power_uw      the package takes 12 W from now on
//   insmod fakerapl.ko range_uj=20000000                          its counter starts again after 20 J
//
// Energy is integrated in the kernel at every change and every reading, so no joule depends on who polls. The zone
// "core" is below the package and takes half of its power. The counter shows whole milliseconds only, as RAPL's does.
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/powercap.h>
#include <linux/spinlock.h>

static unsigned long long range_uj = 262143328850ULL;
module_param(range_uj, ullong, 0444);

static DEFINE_SPINLOCK(lock);
static unsigned long power_uw = 10000000;
static u64 total_pj;	// energy up to changed_at, in picojoules: microwatts times microseconds
static ktime_t changed_at, shown_at;
static u64 shown_pj;

static u64 energy_pj(ktime_t now)
{
	return total_pj + (u64)power_uw * ktime_us_delta(now, changed_at);
}

static int set_power(const char *text, const struct kernel_param *parameter)
{
	unsigned long flags, wanted;
	ktime_t now;
	int error = kstrtoul(text, 0, &wanted);

	if (error)
		return error;
	spin_lock_irqsave(&lock, flags);
	now = ktime_get();
	total_pj = energy_pj(now);
	changed_at = now;
	power_uw = wanted;
	spin_unlock_irqrestore(&lock, flags);
	return 0;
}

static const struct kernel_param_ops power_ops = { .set = set_power, .get = param_get_ulong };
module_param_cb(power_uw, &power_ops, &power_uw, 0644);

static struct powercap_control_type *type;
static struct powercap_zone package, core;

static int get_energy(struct powercap_zone *zone, u64 *value)
{
	unsigned long flags;
	u64 energy_uj, rest;
	ktime_t now;

	spin_lock_irqsave(&lock, flags);
	now = ktime_get();
	if (ktime_us_delta(now, shown_at) >= 1000) {
		shown_at = now;
		shown_pj = energy_pj(now);
	}
	energy_uj = div_u64(shown_pj, 1000000);
	spin_unlock_irqrestore(&lock, flags);
	if (zone == &core)
		energy_uj /= 2;
	div64_u64_rem(energy_uj, range_uj + 1, &rest);
	*value = rest;
	return 0;
}

static int get_range(struct powercap_zone *zone, u64 *value)
{
	*value = range_uj;
	return 0;
}

static int release(struct powercap_zone *zone)
{
	return 0;
}

static const struct powercap_zone_ops zone_ops = {
	.get_energy_uj = get_energy,
	.get_max_energy_range_uj = get_range,
	.release = release,
};

// powercap refuses a zone without at least one constraint that has all four operations.
static int get_limit(struct powercap_zone *zone, int id, u64 *value)
{
	*value = 65000000;
	return 0;
}

static int get_window(struct powercap_zone *zone, int id, u64 *value)
{
	*value = 1000000;
	return 0;
}

static int ignore(struct powercap_zone *zone, int id, u64 value)
{
	return 0;
}

static const char *constraint_name(struct powercap_zone *zone, int id)
{
	return "long_term";
}

static const struct powercap_zone_constraint_ops constraint_ops = {
	.get_power_limit_uw = get_limit,
	.set_power_limit_uw = ignore,
	.get_time_window_us = get_window,
	.set_time_window_us = ignore,
	.get_name = constraint_name,
};

static int __init start(void)
{
	struct powercap_zone *zone;

	changed_at = shown_at = ktime_get();
	type = powercap_register_control_type(NULL, "intel-rapl", NULL);
	if (IS_ERR(type))
		return PTR_ERR(type);
	zone = powercap_register_zone(&package, type, "package-0", NULL, &zone_ops, 1, &constraint_ops);
	if (IS_ERR(zone))
		goto no_package;
	zone = powercap_register_zone(&core, type, "core", &package, &zone_ops, 1, &constraint_ops);
	if (IS_ERR(zone))
		goto no_core;
	return 0;
no_core:
	powercap_unregister_zone(type, &package);
no_package:
	powercap_unregister_control_type(type);
	return PTR_ERR(zone);
}

static void __exit stop(void)
{
	powercap_unregister_zone(type, &core);
	powercap_unregister_zone(type, &package);
	powercap_unregister_control_type(type);
}

module_init(start);
module_exit(stop);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("powercap zones with RAPL's names for greenup's tests");
